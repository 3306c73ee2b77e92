#include "store/database.h"

#include <errno.h>
#include <stdio.h>

#include "store/base/fd.h"

// For who looks while another writes, which takes seconds where there are millions of rows.
#define WAIT_MS 10000

// Names of the store are opened through /proc/self/fd, which must not be resolved: the store may lie in a
// mount that no path leads to.
static int keep_path(sqlite3_vfs *vfs, const char *name, int size, char *ret)
{
	(void)vfs;
	return snprintf(ret, (size_t)size, "%s", name) < size ? SQLITE_OK : SQLITE_CANTOPEN;
}

static const char *vfs_name(void)
{
	static sqlite3_vfs vfs;
	static const char name[] = "hashfs";

	const sqlite3_vfs *usual = sqlite3_vfs_find(NULL);
	if (!vfs.zName && usual) {
		vfs = *usual;
		vfs.zName = name;
		vfs.pNext = NULL;
		vfs.xFullPathname = keep_path;
		sqlite3_vfs_register(&vfs, 0);
	}
	return name;
}

int database_errno(int r)
{
	switch (r & 0xff) {
	case SQLITE_OK:
	case SQLITE_DONE:
	case SQLITE_ROW:
		return 0;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CANTOPEN:
		return -ENOENT;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_IOERR:
		return -EIO;
	default:  // SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_ERROR: not the tables that we make
		return -EBADMSG;
	}
}

// What the system said of the last call on @db, if that was it.
static int error_of(sqlite3 *db, int r)
{
	int kind = r & 0xff;
	int said = kind == SQLITE_CANTOPEN || kind == SQLITE_IOERR ? sqlite3_system_errno(db) : 0;
	return said > 0 ? -said : database_errno(r);
}

int database_run(sqlite3 *db, const char *sql)
{
	return error_of(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

int database_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret)
{
	if (*ret)
		return 0;
	return database_errno(sqlite3_prepare_v2(db, sql, -1, ret, NULL));
}

int database_step(sqlite3_stmt *s)
{
	sqlite3_step(s);
	return database_errno(sqlite3_reset(s));
}

int database_open(int dir, const char *name, int flags, sqlite3 **ret)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", fd_path(dir).text, name);
	int r = database_errno(sqlite3_open_v2(
		path, ret, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, vfs_name()));
	if (r < 0)
		return r;
	sqlite3_busy_timeout(*ret, WAIT_MS);
	sqlite3_db_config(*ret, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(*ret, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(*ret, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(*ret, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
	return database_run(*ret,
			    "PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0; PRAGMA synchronous = OFF");
}
