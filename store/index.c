#include "store/index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/base/array.h"
#include "store/base/fd.h"
#include "store/base/sys.h"
#include "store/database.h"
#include "store/store.h"

#define FILE_NAME "index.sqlite"
#define VERSION 4
#define PASSES_KEPT 4096

struct index {
	sqlite3 *db;  // owned
	uint64_t seed;
	unsigned ignored;
	sqlite3_stmt *put, *remove, *verified;  // owned; NULL: not used yet
};

static int run(struct index *x, const char *sql)
{
	return database_run(x->db, sql);
}

static int prepare(struct index *x, const char *sql, sqlite3_stmt **ret)
{
	return database_prepare(x->db, sql, ret);
}

// Whose it is: another store, a store that was copied, or another filesystem has other inodes; what was
// ignored changes what is equal.
struct owner {
	uint64_t seed, ino;
	char uuid[33];
	unsigned ignored;
};

static struct owner owner_of(const struct store *s, unsigned ignored)
{
	struct owner o = { .seed = s->seed, .ino = s->ino, .ignored = ignored };
	sys_fs_uuid(s->dir, o.uuid);
	return o;
}

static int read_owner(struct index *x, struct owner *ret)
{
	sqlite3_stmt *s = NULL;
	int r = prepare(x, "SELECT seed, ino, uuid, ignored FROM owner", &s);
	if (r < 0)
		return r;
	r = sqlite3_step(s);
	if (r == SQLITE_ROW) {
		const char *uuid = (const char *)sqlite3_column_text(s, 2);
		ret->seed = (uint64_t)sqlite3_column_int64(s, 0);
		ret->ino = (uint64_t)sqlite3_column_int64(s, 1);
		ret->ignored = (unsigned)sqlite3_column_int(s, 3);
		snprintf(ret->uuid, sizeof(ret->uuid), "%s", uuid ? uuid : "");
	}
	sqlite3_finalize(s);
	return r == SQLITE_ROW ? 0 : r == SQLITE_DONE ? -EBADMSG : database_errno(r);
}

static int write_owner(struct index *x, const struct owner *o)
{
	sqlite3_stmt *s = NULL;
	int r = prepare(x, "INSERT INTO owner VALUES (?, ?, ?, ?)", &s);
	if (r < 0)
		return r;
	sqlite3_bind_int64(s, 1, (sqlite3_int64)o->seed);
	sqlite3_bind_int64(s, 2, (sqlite3_int64)o->ino);
	sqlite3_bind_text(s, 3, o->uuid, -1, SQLITE_STATIC);
	sqlite3_bind_int(s, 4, (int)x->ignored);
	r = database_step(s);
	sqlite3_finalize(s);
	return r;
}

static int read_version(struct index *x, int *ret)
{
	sqlite3_stmt *s = NULL;
	int r = prepare(x, "PRAGMA user_version", &s);
	if (r < 0)
		return r;
	r = sqlite3_step(s);
	*ret = r == SQLITE_ROW ? sqlite3_column_int(s, 0) : 0;
	sqlite3_finalize(s);
	return database_errno(r);
}

#define OWNER "CREATE TABLE owner (seed INTEGER, ino INTEGER, uuid TEXT, ignored INTEGER)"
#define FILES                                                                                                \
	"CREATE TABLE files (ino INTEGER PRIMARY KEY, stamp INTEGER, high INTEGER, low INTEGER, identity "   \
	"INTEGER)"
#define LISTINGS "CREATE TABLE listings (guest BLOB UNIQUE, data BLOB)"
#define PASSES                                                                                               \
	"CREATE TABLE passes (started INTEGER, seconds REAL, guests INTEGER, seen INTEGER, linked INTEGER, " \
	"objects INTEGER, freed INTEGER, errors INTEGER, signal INTEGER)"
#define VERIFIED "CREATE TABLE verified (ino INTEGER PRIMARY KEY, at INTEGER)"
#define TABLES FILES ";" LISTINGS ";" OWNER ";" PASSES ";" VERIFIED

// Has it our tables and nothing else, no view, no trigger?
static int check_tables(struct index *x)
{
	sqlite3_stmt *s = NULL;
	int r = prepare(x, "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema ORDER BY name)",
			&s);
	if (r < 0)
		return r;
	r = sqlite3_step(s);
	const char *text = r == SQLITE_ROW ? (const char *)sqlite3_column_text(s, 0) : NULL;
	bool same = text && strcmp(text, TABLES) == 0;
	sqlite3_finalize(s);
	return same ? 0 : -EBADMSG;
}

// Is it ours, and as we make it?
static int check(struct index *x, const struct owner *wanted, enum index_state *ret)
{
	struct owner found = { 0 };
	int version = 0;

	int r = read_version(x, &version);
	if (r < 0)
		return r;
	*ret = version == 0 ? INDEX_NEW : INDEX_FOREIGN;  // 0: a process was killed while it made it
	if (version != VERSION)
		return 0;
	r = check_tables(x);
	if (r == 0)
		r = read_owner(x, &found);
	if (r < 0)
		return r;
	bool fits = found.ignored == wanted->ignored || wanted->ignored == INDEX_ANY;
	if (found.seed == wanted->seed && found.ino == wanted->ino && fits &&
	    strcmp(found.uuid, wanted->uuid) == 0)
		*ret = INDEX_GOOD;
	x->ignored = found.ignored;
	return 0;
}

// Nothing is flushed: after a power cut it may be old or broken, but each row was true once, and its stamp
// tells whether it is.
static int open_db(const struct store *s, int flags, struct index *x)
{
	return database_open(s->dir, FILE_NAME, flags, &x->db);
}

static void close_db(struct index *x)
{
	sqlite3_finalize(x->put);
	sqlite3_finalize(x->remove);
	sqlite3_finalize(x->verified);
	sqlite3_close(x->db);
	*x = (struct index){ .seed = x->seed };
}

static bool exists(const struct store *s)
{
	return faccessat(s->dir, FILE_NAME, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

// SQLite opens whatever has the name: a FIFO it would wait for.
static bool can_be_opened(const struct store *s, const char *name)
{
	struct stat st;
	int r = fstatat(s->dir, name, &st, AT_SYMLINK_NOFOLLOW);
	return r < 0 || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
}

// Errors of the disk are the caller's to hear; all else means that it is no index.
static bool is_broken(int r)
{
	return r == -EBADMSG || r == -ENOENT;
}

static int open_old(const struct store *s, const struct owner *o, bool write, struct index *x,
		    enum index_state *ret_state)
{
	bool is_odd = !can_be_opened(s, FILE_NAME) || !can_be_opened(s, FILE_NAME "-journal");
	*ret_state = is_odd ? INDEX_CORRUPT : INDEX_NEW;
	if (is_odd || !exists(s))
		return 0;
	int r = open_db(s, write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY, x);
	if (r == 0)
		r = check(x, o, ret_state);
	// A killed process left a transaction that only a writer can roll back.
	bool unfinished = r == -EROFS && !write;
	if (!is_broken(r) && !unfinished)
		return r;
	*ret_state = unfinished ? INDEX_UNFINISHED : INDEX_CORRUPT;
	return 0;
}

int index_drop(struct store *s)
{
	if (unlinkat(s->dir, FILE_NAME, 0) < 0 && errno != ENOENT)
		return -errno;
	if (unlinkat(s->dir, FILE_NAME "-journal", 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static int make_new(struct store *s, const struct owner *o, struct index *x)
{
	int r = index_drop(s);
	if (r < 0)
		return r;
	x->ignored = o->ignored == INDEX_ANY ? 0 : o->ignored;
	int fd = openat(s->dir, FILE_NAME, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	fd_close(fd);
	r = open_db(s, SQLITE_OPEN_READWRITE, x);
	if (r == 0)
		r = run(x, "BEGIN");
	if (r == 0)
		r = run(x, "PRAGMA user_version = 4;" TABLES);
	return r < 0 ? r : write_owner(x, o);
}

static int open_any(struct store *s, unsigned ignored, bool write, struct index *x,
		    enum index_state *ret_state)
{
	const struct owner o = owner_of(s, ignored);

	int r = open_old(s, &o, write, x, ret_state);
	if (r < 0 || *ret_state == INDEX_GOOD)
		return r;
	close_db(x);
	return write ? make_new(s, &o, x) : 0;
}

int index_open(struct store *s, unsigned ignored, bool write, struct index **ret, enum index_state *ret_state)
{
	struct index *x = calloc(1, sizeof(*x));
	*ret = NULL;
	if (!x)
		return -ENOMEM;

	int r = open_any(s, ignored, write, x, ret_state);
	if (r == 0 && x->db && write && sqlite3_get_autocommit(x->db))
		r = run(x, "BEGIN");
	if (r < 0 || !x->db) {
		close_db(x);
		free(x);
		return r;
	}
	*ret = x;
	return 0;
}

unsigned index_ignored(const struct index *x)
{
	return x->ignored;
}

int index_commit(struct index *x)
{
	int r = run(x, "COMMIT");
	return r < 0 ? r : run(x, "BEGIN");
}

int index_close(struct index *x)
{
	if (!x)
		return 0;
	int r = sqlite3_get_autocommit(x->db) ? 0 : run(x, "COMMIT");
	close_db(x);
	free(x);
	return r;
}

static bool is_number(sqlite3_stmt *s, int columns)
{
	for (int i = 0; i < columns; i++)
		if (sqlite3_column_type(s, i) != SQLITE_INTEGER)
			return false;
	return true;
}

static uint64_t number(sqlite3_stmt *s, int column)
{
	return (uint64_t)sqlite3_column_int64(s, column);
}

int index_each(struct index *x, int (*each)(const struct index_file *f, void *arg), void *arg)
{
	sqlite3_stmt *s = NULL;
	int r = prepare(x, "SELECT ino, stamp, high, low, identity FROM files ORDER BY ino", &s);
	if (r < 0)
		return r;
	int stepped = SQLITE_DONE;
	while (r == 0 && (stepped = sqlite3_step(s)) == SQLITE_ROW) {
		const struct index_file f = {
			.ino = number(s, 0),
			.stamp = number(s, 1),
			.digest = { number(s, 2), number(s, 3) },
			.identity = number(s, 4),
		};
		r = is_number(s, 5) ? each(&f, arg) : -EBADMSG;
	}
	sqlite3_finalize(s);
	return r ? r : database_errno(stepped);
}

int index_put(struct index *x, const struct index_file *files, size_t count)
{
	int r = prepare(x, "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", &x->put);
	for (size_t i = 0; i < count && r == 0; i++) {
		const struct index_file *f = &files[i];
		const uint64_t values[] = { f->ino, f->stamp, f->digest.high, f->digest.low, f->identity };
		for (int v = 0; v < 5; v++)
			sqlite3_bind_int64(x->put, v + 1, (sqlite3_int64)values[v]);
		r = database_step(x->put);
	}
	return r;
}

int index_remove(struct index *x, uint64_t ino)
{
	int r = prepare(x, "DELETE FROM files WHERE ino = ?", &x->remove);
	if (r < 0)
		return r;
	sqlite3_bind_int64(x->remove, 1, (sqlite3_int64)ino);
	return database_step(x->remove);
}

int index_each_verified(struct index *x, int (*each)(const struct index_verified *v, void *arg), void *arg)
{
	sqlite3_stmt *s = NULL;
	int r = prepare(x, "SELECT ino, at FROM verified", &s);
	if (r < 0)
		return r;
	int stepped = SQLITE_DONE;
	while (r == 0 && (stepped = sqlite3_step(s)) == SQLITE_ROW) {
		const struct index_verified v = { number(s, 0), sqlite3_column_int64(s, 1) };
		r = is_number(s, 2) ? each(&v, arg) : -EBADMSG;
	}
	sqlite3_finalize(s);
	return r ? r : database_errno(stepped);
}

int index_put_verified(struct index *x, const struct index_verified *v)
{
	int r = prepare(x, "INSERT OR REPLACE INTO verified VALUES (?, ?)", &x->verified);
	if (r < 0)
		return r;
	sqlite3_bind_int64(x->verified, 1, (sqlite3_int64)v->ino);
	sqlite3_bind_int64(x->verified, 2, v->at);
	return database_step(x->verified);
}

int index_forget_verified(struct index *x)
{
	return run(x, "DELETE FROM verified");
}

static void bind_blob(sqlite3_stmt *s, int i, const void *bytes, size_t size)
{
	sqlite3_bind_blob64(s, i, bytes, size, SQLITE_STATIC);
}

static int copy_blob(sqlite3_stmt *s, int column, uint8_t **ret, size_t *ret_size)
{
	const void *bytes = sqlite3_column_blob(s, column);
	size_t size = (size_t)sqlite3_column_bytes(s, column);

	*ret = malloc(size + 1);
	if (!*ret)
		return -ENOMEM;
	if (size > 0)
		memcpy(*ret, bytes, size);
	*ret_size = size;
	return 1;
}

int index_get_listing(struct index *x, const char *guest, uint8_t **ret, size_t *ret_size)
{
	sqlite3_stmt *s = NULL;
	int r = prepare(x, "SELECT data FROM listings WHERE guest = ?", &s);
	if (r < 0)
		return r;
	bind_blob(s, 1, guest, strlen(guest));
	int stepped = sqlite3_step(s);
	r = stepped == SQLITE_ROW ? copy_blob(s, 0, ret, ret_size) : database_errno(stepped);
	sqlite3_finalize(s);
	return r;
}

int index_put_listing(struct index *x, const char *guest, const void *data, size_t size)
{
	sqlite3_stmt *s = NULL;
	int r = prepare(x, "INSERT OR REPLACE INTO listings VALUES (?, ?)", &s);
	if (r < 0)
		return r;
	bind_blob(s, 1, guest, strlen(guest));
	bind_blob(s, 2, data, size);
	r = database_step(s);
	sqlite3_finalize(s);
	return r;
}

struct rows {
	int64_t *list;  // owned
	size_t count, capacity;
};

static int find_unwanted(struct index *x, bool (*is_wanted)(const char *guest, void *arg), void *arg,
			 struct rows *ret)
{
	sqlite3_stmt *s = NULL;
	int r = prepare(x, "SELECT rowid, guest FROM listings", &s);
	int stepped = SQLITE_DONE;
	while (r == 0 && (stepped = sqlite3_step(s)) == SQLITE_ROW) {
		const char *guest = (const char *)sqlite3_column_text(s, 1);
		if (guest && is_wanted(guest, arg))
			continue;
		int64_t *list = array_grow(ret->list, ret->count, &ret->capacity, sizeof(*list));
		if (!list) {
			r = -ENOMEM;
			break;
		}
		ret->list = list;
		ret->list[ret->count++] = sqlite3_column_int64(s, 0);
	}
	sqlite3_finalize(s);
	return r < 0 ? r : database_errno(stepped);
}

static int remove_listings(struct index *x, const struct rows *rows)
{
	sqlite3_stmt *s = NULL;
	int r = prepare(x, "DELETE FROM listings WHERE rowid = ?", &s);
	for (size_t i = 0; i < rows->count && r == 0; i++) {
		sqlite3_reset(s);
		sqlite3_bind_int64(s, 1, rows->list[i]);
		r = database_step(s);
		if (r == 0 && sqlite3_changes(x->db) != 1)
			r = -EBADMSG;  // a row that is found by looking at all, and not by its number
	}
	sqlite3_finalize(s);
	return r;
}

int index_keep_listings(struct index *x, bool (*is_wanted)(const char *guest, void *arg), void *arg)
{
	struct rows unwanted = { 0 };

	int r = find_unwanted(x, is_wanted, arg, &unwanted);
	if (r == 0)
		r = remove_listings(x, &unwanted);
	free(unwanted.list);
	return r;
}

int index_add_pass(struct index *x, const struct index_pass *p)
{
	char trim[128];
	sqlite3_stmt *s = NULL;
	int r = prepare(x, "INSERT INTO passes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", &s);
	if (r < 0)
		return r;
	const int64_t values[] = { p->started,         0,
				   (int64_t)p->guests, (int64_t)p->seen,
				   (int64_t)p->linked, (int64_t)p->objects,
				   (int64_t)p->freed,  (int64_t)p->errors,
				   p->signal };
	for (int i = 0; i < 9; i++)
		sqlite3_bind_int64(s, i + 1, values[i]);
	sqlite3_bind_double(s, 2, p->seconds);
	r = database_step(s);
	sqlite3_finalize(s);
	snprintf(trim, sizeof(trim), "DELETE FROM passes WHERE rowid <= (SELECT max(rowid) FROM passes) - %d",
		 PASSES_KEPT);
	return r < 0 ? r : run(x, trim);
}

int64_t index_last_pass(struct index *x, struct index_pass *ret)
{
	sqlite3_stmt *s = NULL;
	*ret = (struct index_pass){ 0 };
	int r = prepare(x,
			"SELECT started, seconds, guests, seen, linked, objects, freed, errors, signal, "
			"(SELECT count(*) FROM passes) FROM passes ORDER BY rowid DESC LIMIT 1",
			&s);
	if (r < 0)
		return r;
	int64_t count = 0;
	r = sqlite3_step(s);
	if (r == SQLITE_ROW) {
		*ret = (struct index_pass){
			.started = sqlite3_column_int64(s, 0),
			.seconds = sqlite3_column_double(s, 1),
			.guests = number(s, 2),
			.seen = number(s, 3),
			.linked = number(s, 4),
			.objects = number(s, 5),
			.freed = number(s, 6),
			.errors = number(s, 7),
			.signal = sqlite3_column_int(s, 8),
		};
		count = sqlite3_column_int64(s, 9);
	}
	sqlite3_finalize(s);
	r = database_errno(r);
	return r < 0 ? r : count;
}

uint64_t index_stamp(uint64_t seed, uint64_t size, struct timespec mtime, struct timespec ctime)
{
	const int64_t fields[] = { (int64_t)size, mtime.tv_sec, mtime.tv_nsec, ctime.tv_sec, ctime.tv_nsec };
	return digest_hash64(seed, fields, sizeof(fields));
}
