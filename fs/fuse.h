// The one door to libfuse: its version and its low-level interface.
#pragma once

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 17)

#include <fuse_lowlevel.h>

// A request comes after the reply to the one before it. The thread sanitizer sees that where both go through
// read(2) and write(2), but not where they go through io_uring. A reply's arguments must not look at
// nodes: they come after what is noted here.
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>

extern char fuse_order;

#define AFTER_REPLIES(call) (__tsan_acquire(&fuse_order), call)
#define BEFORE_REQUESTS(call) (__tsan_release(&fuse_order), call)

#define fuse_req_userdata(...) AFTER_REPLIES(fuse_req_userdata(__VA_ARGS__))
#define fuse_reply_attr(...) BEFORE_REQUESTS(fuse_reply_attr(__VA_ARGS__))
#define fuse_reply_buf(...) BEFORE_REQUESTS(fuse_reply_buf(__VA_ARGS__))
#define fuse_reply_create(...) BEFORE_REQUESTS(fuse_reply_create(__VA_ARGS__))
#define fuse_reply_entry(...) BEFORE_REQUESTS(fuse_reply_entry(__VA_ARGS__))
#define fuse_reply_err(...) BEFORE_REQUESTS(fuse_reply_err(__VA_ARGS__))
#define fuse_reply_ioctl(...) BEFORE_REQUESTS(fuse_reply_ioctl(__VA_ARGS__))
#define fuse_reply_lseek(...) BEFORE_REQUESTS(fuse_reply_lseek(__VA_ARGS__))
#define fuse_reply_none(...) BEFORE_REQUESTS(fuse_reply_none(__VA_ARGS__))
#define fuse_reply_open(...) BEFORE_REQUESTS(fuse_reply_open(__VA_ARGS__))
#define fuse_reply_readlink(...) BEFORE_REQUESTS(fuse_reply_readlink(__VA_ARGS__))
#define fuse_reply_statfs(...) BEFORE_REQUESTS(fuse_reply_statfs(__VA_ARGS__))
#define fuse_reply_statx(...) BEFORE_REQUESTS(fuse_reply_statx(__VA_ARGS__))
#define fuse_reply_write(...) BEFORE_REQUESTS(fuse_reply_write(__VA_ARGS__))
#define fuse_reply_xattr(...) BEFORE_REQUESTS(fuse_reply_xattr(__VA_ARGS__))
#endif
