// A private copy has all that its object had.
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/mark.h"
#include "store/meta.h"
#include "store/tmp.h"
#include "store/xattr.h"
#include "tests/support/fault.h"
#include "tests/support/pool.h"

// In the order of the kernel's: version, then tag, permissions and id of each entry, in little-endian.
static const unsigned char acl[] = {
	2, 0,    0,    0,    0x01, 0,    6,    0, 0xff, 0xff, 0xff, 0xff, 0x02, 0,    4,
	0, 0x39, 0x30, 0,    0,    0x04, 0,    4, 0,    0xff, 0xff, 0xff, 0xff, 0x10, 0,
	4, 0,    0xff, 0xff, 0xff, 0xff, 0x20, 0, 0,    0,    0xff, 0xff, 0xff, 0xff,
};

// cap_net_raw=ep, as setcap(8) writes it.
static const unsigned char capability[20] = { 1, 0, 0, 2, 0, 32 };

struct copied {
	int src, dst;
	struct stat st;
};

static struct copied given(const struct pool *p)
{
	struct copied c;

	put_old(p, "file", "hello");
	c.src = open_read(p->tree, "file");
	c.dst = tmp_open(p->store);
	assert_true(c.dst >= 0);
	return c;
}

static int copy(struct copied *c)
{
	assert_int_equal(fstat(c->src, &c->st), 0);
	return meta_copy(c->src, &c->st, c->dst);
}

static void done(const struct copied *c)
{
	close(c->src);
	close(c->dst);
}

static void assert_same_xattr(const struct copied *c, const char *name)
{
	char a[256], b[256];
	int64_t size = xattr_get(c->src, name, a, sizeof(a));

	assert_true(size >= 0);
	assert_int_equal(xattr_get(c->dst, name, b, sizeof(b)), size);
	assert_memory_equal(a, b, size);
}

static void owner_mode_and_times_to_the_nanosecond_are_copied(void **state)
{
	struct copied c = given(*state);
	struct stat copied;
	if (geteuid() == 0)
		assert_int_equal(fchown(c.src, 12345, 54321), 0);
	assert_int_equal(fchmod(c.src, 06751), 0);  // chown would have cleared set-uid

	assert_int_equal(copy(&c), 0);

	assert_int_equal(fstat(c.dst, &copied), 0);
	assert_int_equal(copied.st_mode, c.st.st_mode);
	assert_int_equal(copied.st_mode & 07777, 06751);
	assert_int_equal(copied.st_uid, c.st.st_uid);
	assert_int_equal(copied.st_gid, c.st.st_gid);
	assert_memory_equal(&copied.st_mtim, &c.st.st_mtim, sizeof(copied.st_mtim));
	assert_memory_equal(&copied.st_atim, &c.st.st_atim, sizeof(copied.st_atim));
	done(&c);
}

static void xattrs_acls_and_capabilities_are_copied_and_the_mark_is_not(void **state)
{
	struct pool *p = *state;
	struct copied c = given(p);
	struct stat copied;
	bool root = geteuid() == 0;
	if (root)
		assert_int_equal(fchown(c.src, 12345, 54321), 0);
	assert_int_equal(xattr_set(c.src, "user.empty", "", 0, 0), 0);
	assert_int_equal(xattr_set(c.src, "user.name", "v\0w", 3, 0), 0);
	assert_int_equal(xattr_set(c.src, "system.posix_acl_access", acl, sizeof(acl), 0), 0);
	if (root)
		assert_int_equal(xattr_set(c.src, "security.capability", capability, sizeof(capability), 0),
				 0);
	assert_int_equal(fstat(c.src, &c.st), 0);
	assert_int_equal(mark_write(p->store->marks, c.src, &c.st, (struct digest){ 1, 2 }), 0);

	assert_int_equal(copy(&c), 0);

	assert_same_xattr(&c, "user.empty");
	assert_same_xattr(&c, "user.name");
	assert_same_xattr(&c, "system.posix_acl_access");
	if (root)
		assert_same_xattr(&c, "security.capability");
	struct xattr_set a, b;
	assert_int_equal(xattr_read(c.src, &a) | xattr_read(c.dst, &b), 0);
	assert_true(xattr_equal(&a, &b));
	xattr_free(&a);
	xattr_free(&b);
	assert_int_equal(fstat(c.dst, &copied), 0);
	assert_int_equal(copied.st_mode, c.st.st_mode);
	struct digest digest;
	assert_int_equal(mark_read(p->store->marks, c.dst, &copied, &digest), -ENODATA);
	done(&c);
}

static void a_file_with_very_many_xattrs_is_read_whole(void **state)
{
	struct copied c = given(*state);
	char name[64];
	int count = 0;

	// What fits is the filesystem's affair.
	for (; count < 200; count++) {
		snprintf(name, sizeof(name), "user.a long name for a small value %03d", count);
		if (xattr_set(c.src, name, "x", 1, 0) < 0)
			break;
	}
	assert_true(count > 25);  // more than fit into the first buffer

	assert_int_equal(copy(&c), 0);

	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "user.a long name for a small value %03d", i);
		assert_same_xattr(&c, name);
	}
	done(&c);
}

static void xattrs_are_read_through_an_o_path_fd(void **state)
{
	struct pool *p = *state;
	struct copied c = given(p);
	char value[4];
	int path = openat(p->tree->dir, "file", O_PATH | O_CLOEXEC);

	assert_int_equal(xattr_set(path, "user.name", "v", 1, 0), 0);
	assert_int_equal(xattr_get(path, "user.name", value, sizeof(value)), 1);
	assert_true(xattr_list(path, NULL, 0) > 0);
	assert_int_equal(xattr_remove(path, "user.name"), 0);
	assert_int_equal(xattr_get(path, "user.name", value, sizeof(value)), -ENODATA);
	close(path);
	done(&c);
}

static void what_chattr_has_set_is_copied(void **state)
{
	struct copied c = given(*state);
	struct fsxattr attr;
	if (ioctl(c.src, FS_IOC_FSGETXATTR, &attr) < 0)
		skip();
	attr.fsx_xflags |= FS_XFLAG_NODUMP | FS_XFLAG_NOATIME;
	attr.fsx_projid = 4711;
	if (ioctl(c.src, FS_IOC_FSSETXATTR, &attr) < 0) {  // ext4 without its feature `project`
		attr.fsx_projid = 0;
		assert_int_equal(ioctl(c.src, FS_IOC_FSSETXATTR, &attr), 0);
	}

	assert_int_equal(copy(&c), 0);

	struct fsxattr copied;
	assert_int_equal(ioctl(c.dst, FS_IOC_FSGETXATTR, &copied), 0);
	assert_int_equal(copied.fsx_xflags & (FS_XFLAG_NODUMP | FS_XFLAG_NOATIME),
			 FS_XFLAG_NODUMP | FS_XFLAG_NOATIME);
	assert_int_equal(copied.fsx_projid, attr.fsx_projid);
	done(&c);
}

static void whatever_cannot_be_copied_is_told(void **state)
{
	struct copied c = given(*state);
	if (geteuid() == 0)
		assert_int_equal(fchown(c.src, 12345, 54321), 0);
	assert_int_equal(xattr_set(c.src, "user.name", "v", 1, 0), 0);

	if (geteuid() == 0) {
		fault_next("fchown", EPERM);
		assert_int_equal(copy(&c), -EPERM);
		assert_true(fault_was_met());
	}
	fault_next("setxattr", ENOSPC);
	assert_int_equal(copy(&c), -ENOSPC);
	assert_true(fault_was_met());
	fault_next("fchmod", EIO);
	assert_int_equal(copy(&c), -EIO);
	assert_true(fault_was_met());
	assert_int_equal(copy(&c), 0);
	done(&c);
}

#define in_pool(f) cmocka_unit_test_setup_teardown(f, pool_setup, pool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_pool(owner_mode_and_times_to_the_nanosecond_are_copied),
		in_pool(xattrs_acls_and_capabilities_are_copied_and_the_mark_is_not),
		in_pool(a_file_with_very_many_xattrs_is_read_whole),
		in_pool(xattrs_are_read_through_an_o_path_fd),
		in_pool(what_chattr_has_set_is_copied),
		in_pool(whatever_cannot_be_copied_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
