// The one door to libfuse: its version and its low-level interface.
#pragma once

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 17)

#include <fuse_lowlevel.h>
