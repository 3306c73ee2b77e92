// `hashify unshare`: options in, exit status out.
#pragma once

int cmd_unshare(int argc, char **argv);
