// SQLite, as the index needs it: the one door to that library. Functions return 0 or a negative errno, which
// errors of SQLite become here. A database and what is prepared for it are used by one thread at a time.
#pragma once

#include <sqlite3.h>

// The errno of what SQLite returned. -EBADMSG: it is no database, or not one with the tables that were asked
// for; -EBUSY: another process is at it; -EROFS, -ENOSPC, -EIO…: the disk's.
int database_errno(int r);

// Opens the file @name of the directory fd @dir, with SQLITE_OPEN_… as @flags, into *@ret: for the caller to
// close by sqlite3_close(), after an error, too. It may have been damaged: what it holds besides tables runs
// nothing, and what SQLite notices it says. Nothing is flushed.
int database_open(int dir, const char *name, int flags, sqlite3 **ret);

// Runs statements that return no rows.
int database_run(sqlite3 *db, const char *sql);

// Prepares a statement for the caller to finalize, unless *@ret is one already.
int database_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret);

// Runs @s, which returns no rows, with what is bound to it, and makes it ready to be run again.
int database_step(sqlite3_stmt *s);
