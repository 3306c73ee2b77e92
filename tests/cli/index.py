"""The index spares reading; deleting, truncating or damaging it costs time, never data."""
import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import cases
import tree
from cases import case, expect, expect_equal
from cli import HASHIFY, MORTAL, command, full_inventory, expect_same, new_pool, summary

TOP = sys.argv[1]
SIZE = 5000


@contextlib.contextmanager
def hashed_pool():
    """Files that are alike but for their bytes, so that each is hashed; older than the index wants them."""
    with new_pool(TOP) as pool:
        for i in range(20):
            pool.put("a/own%d" % i, tree.noise(i, SIZE))
        pool.put_all("same", tree.noise("same", SIZE), guests="ab")
        pool.settle()
        time.sleep(0.3)
        s = summary(pool.path)
        expect_equal((s["linked"], s["skipped"]["alone"]), (1, 20))
        expect_equal(s["bytes_read"], 22 * SIZE, "read by the first pass")
        yield pool


def index(pool):
    return pool.at(".hash/index.sqlite")


def xxh64(data):
    """XXH3-64, by the library that hashify has it from."""
    import ctypes
    lib = ctypes.CDLL("libxxhash.so.0")
    lib.XXH3_64bits_withSeed.restype = ctypes.c_uint64
    lib.XXH3_64bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
    return lib.XXH3_64bits_withSeed(data, len(data), 0).to_bytes(8, sys.byteorder)


def run(pool, read, linked=0):
    """A pass that reads so many files, or one of so many."""
    before = full_inventory(pool.path)
    s = summary(pool.path)
    expect_same(before, full_inventory(pool.path), "changed by a pass")
    expect(s["bytes_read"] // SIZE in (read if isinstance(read, tuple) else (read,)), "files read:", s["bytes_read"] // SIZE)
    expect_equal(s["linked"], linked, "linked")


@case("what has not changed is not read again")
def _(_):
    with hashed_pool() as pool:
        run(pool, read=0)
        expect_equal(os.stat(index(pool)).st_mode & 0o777, 0o600)


@case("where a killed pass left half a transaction, who only looks does without, and the next pass tidies up")
def _(_):
    with hashed_pool() as pool:
        journal = index(pool) + "-journal"
        db = sqlite3.connect(index(pool), isolation_level=None)
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN")
        db.executemany("INSERT INTO files VALUES (?, 1, 2, 3, 4)", ((n,) for n in range(10**6, 10**6 + 5000)))
        half = [(path, tree.slurp(path)) for path in (index(pool), journal)]
        db.rollback()
        db.close()
        for path, content in half:
            with open(path, "wb") as f:
                f.write(content)
        for args in (("index",), ("-n",)):
            r = command(*args, pool.path)
            expect_equal((r.returncode, b"ead-only" in r.stderr), (0, False), "%s: %s" % (args, r.stderr))
        expect_equal(summary("index", pool.path)["state"], "unfinished")
        expect(os.path.exists(journal), "the journal is gone: this proves nothing")
        run(pool, read=0)
        expect(not os.path.exists(journal), "the journal is still there")


@case("a twin of a file that was hashed before is found, and so are two such files")
def _(_):
    with hashed_pool() as pool:
        pool.put("b/own7", tree.noise(7, SIZE))
        pool.settle()
        run(pool, read=(1, 2), linked=1)
        pool.expect_linked("a/own7", "b/own7")
        run(pool, read=0)


@case("what was written to is read again, though size and mtime are as before")
def _(_):
    with hashed_pool() as pool:
        path = pool.at("a/own3")
        st = os.stat(path)
        with open(path, "r+b") as f:
            f.write(tree.noise(4, SIZE))
        os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
        time.sleep(0.3)
        run(pool, read=(1, 2), linked=1)
        pool.expect_linked("a/own3", "a/own4")


@case("a file that has just changed is not trusted to stay as it is")
def _(_):
    for _ in range(20):  # on a busy machine a tenth of a second may be over before the pass comes to it
        with new_pool(TOP) as pool:
            for i in range(3):
                pool.put("a/own%d" % i, tree.noise(i, SIZE))
            summary(pool.path)
            if summary(pool.path)["bytes_read"] // SIZE == 3:
                return
    expect(False, "it was never read again")


@case("without the index, or with what is left of it, all is found again")
def _(_):
    with hashed_pool() as pool:
        with open(index(pool), "rb") as f:
            good = f.read()
        def damage(how):
            with open(index(pool), "wb") as f:
                f.write(how)
        for n in range(0, len(good), 4096):
            damage(good[:n])
            before = full_inventory(pool.path)
            summary(pool.path)
            expect_same(before, full_inventory(pool.path), "changed by a pass")
            run(pool, read=0)
        os.unlink(index(pool))
        run(pool, read=20)
        damage(b"rubbish" * 1000)
        r = command(pool.path)
        expect(r.returncode == 0 and b"index.sqlite" in r.stderr, r.returncode, r.stderr)
        run(pool, read=0)
        for seed in range(30):
            rng = random.Random(seed)
            bad = bytearray(good)
            for _ in range(rng.randrange(1, 200)):
                bad[rng.randrange(len(bad))] = rng.randrange(256)
            damage(bad)
            pool.put("b/own%d" % (seed % 20), tree.noise(seed % 20, SIZE + 1))
            before = full_inventory(pool.path)
            summary(pool.path)
            expect_same(before, full_inventory(pool.path), "changed by a pass")
            os.unlink(pool.at("b/own%d" % (seed % 20)))


@case("what has the index' name and is no file is removed, and nothing waits for it")
def _(_):
    for name in "index.sqlite", "index.sqlite-journal":
        with hashed_pool() as pool:
            for look in (), ("verify",), ("index",):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(pool.at(".hash", name))
                os.mkfifo(pool.at(".hash", name))
                r = command(*look, pool.path, limit=60)
                expect(r.returncode in (0, 1), name, look, r.returncode, r.stderr)
            run(pool, read=(0, 20, 22))


@case("an index that lies finds less, and mixes nothing up")
def _(_):
    with hashed_pool() as pool:
        db = sqlite3.connect(index(pool))
        (high, low, identity), = db.execute("SELECT high, low, identity FROM files ORDER BY ino LIMIT 1")
        db.execute("UPDATE files SET high = ?, low = ?, identity = ?", (high, low, identity))
        db.commit()
        db.close()
        before = full_inventory(pool.path)
        s = summary(pool.path)
        expect_equal(s["linked"], 0)
        expect_same(before, full_inventory(pool.path), "changed by a pass")
        expect_equal(summary(pool.path)["linked"], 0)


@case("an index with other tables, views and triggers is made anew and runs nothing")
def _(_):
    with hashed_pool() as pool:
        for sql in ("DROP TABLE files; CREATE VIEW files AS SELECT 1 ino, 2 stamp, 3 high, 4 low, 5 identity",
                    "DROP TABLE files; CREATE TABLE files (ino TEXT, stamp TEXT, high BLOB, low, identity);"
                    "INSERT INTO files VALUES ('x', NULL, zeroblob(100000), 1.5, 'y')",
                    "DELETE FROM owner", "DROP TABLE owner", "PRAGMA user_version = 99",
                    "CREATE TRIGGER t AFTER INSERT ON passes BEGIN DELETE FROM files; END"):
            db = sqlite3.connect(index(pool))
            db.executescript(sql)
            db.close()
            before = full_inventory(pool.path)
            summary(pool.path)
            expect_same(before, full_inventory(pool.path), "changed by a pass")
            run(pool, read=0)


def bytes_read_by(p):
    """Of files, by a process that runs, with what it takes to start a program; after its end more than any file has."""
    try:
        with open("/proc/%d/io" % p.pid) as f:
            return int(f.readline().split()[1])
    except OSError:  # a zombie has none
        return 1 << 62


@case("a pass that was stopped keeps what it has hashed: the next one reads the rest, and nothing twice")
def _(_):
    count, size = 40, 50_000
    whole = count * size
    with new_pool(TOP) as pool:
        for i in range(count):
            pool.put("a/own%d" % i, tree.noise(i, size))
        pool.settle()
        time.sleep(0.3)
        before = full_inventory(pool.path)
        p = subprocess.Popen([HASHIFY, "--json", "--no-default-excludes", "--io-limit=%d" % (whole // 4), pool.path],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=MORTAL)
        while bytes_read_by(p) < whole / 2:
            time.sleep(0.01)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate()
        expect_equal(p.returncode, 128 + signal.SIGINT, err)
        stopped = json.loads(out)
        expect(0 < stopped["bytes_read"] < whole, "all or nothing was read:", stopped["bytes_read"])
        rest = summary(pool.path)
        expect_equal(stopped["bytes_read"] + rest["bytes_read"], whole, "read by both")
        expect_same(before, full_inventory(pool.path), "changed by a pass")
        run(pool, read=0)
        expect_equal([summary("index", pool.path)[k] for k in ("files", "passes")], [count, 3])


def rows_in(path):
    """Of files, that are written for good; another process is at it."""
    try:
        with contextlib.closing(sqlite3.connect("file:%s?mode=ro" % path, uri=True)) as db:
            return db.execute("SELECT count(*) FROM files").fetchone()[0]
    except sqlite3.OperationalError:  # it is being made
        return 0


@case("a pass that is killed keeps what it has hashed but for the last seconds")
def _(_):
    pairs, size = 40, 50_000
    whole = sum(2 * (size + i) for i in range(pairs))
    with new_pool(TOP) as pool:
        for i in range(pairs):
            for name in "ab":
                pool.put("a/%s%d" % (name, i), tree.noise("%s%d" % (name, i), size + i))
        pool.settle()
        time.sleep(0.3)
        before = full_inventory(pool.path)
        p = subprocess.Popen([HASHIFY, "-q", "--no-default-excludes", "--io-limit=%d" % (whole // 12), pool.path], env=MORTAL)
        rows = 0
        while rows == 0 and p.poll() is None:
            time.sleep(0.1)
            rows = rows_in(index(pool))
        p.kill()
        expect_equal(p.wait(), -signal.SIGKILL)
        expect(rows > 4, "rows that were kept:", rows)
        rest = summary(pool.path)["bytes_read"]
        expect(0 < rest <= whole - rows * size, "read by the next pass:", rest, "of", whole, "with", rows, "rows")
        expect_same(before, full_inventory(pool.path), "changed by a pass")
        run(pool, read=0)
        expect_equal(summary("index", pool.path)["files"], 2 * pairs)


@case("a dry run writes no index")
def _(_):
    with hashed_pool() as pool:
        os.unlink(index(pool))
        summary("--dry-run", pool.path)
        expect(not os.path.exists(index(pool)), "made by a dry run")
        summary(pool.path)
        before = os.stat(index(pool)).st_mtime_ns
        s = summary("--dry-run", pool.path)
        expect_equal((s["bytes_read"], os.stat(index(pool)).st_mtime_ns), (0, before))


def listing(pool, guest):
    db = sqlite3.connect(index(pool))
    try:
        return db.execute("SELECT data FROM listings WHERE guest = ?", (guest.encode(),)).fetchone()
    finally:
        db.close()


@case("a directory that has not changed is not read again, and one that has is")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("dir/same", tree.noise("same", SIZE), guests="ab")
        for n in range(3):
            pool.put("a/dir/own%d" % n, tree.noise(n, SIZE))
            pool.put("a/dir/sub%d/own" % n, tree.noise(10 + n, SIZE))
        pool.settle()
        time.sleep(0.3)
        first = summary(pool.path)
        time.sleep(0.3)
        summary(pool.path)
        said = listing(pool, "a")[0]
        expect(b"own1" in said and b"sub2" in said and b"same" not in said, said)
        summary(pool.path)
        expect_equal(listing(pool, "a")[0], said, "kept")

        # One that says what is not there is believed: the directory is not read.
        lie = said[8:].replace(b"own1\0", b"lie1\0")
        db = sqlite3.connect(index(pool))
        db.execute("UPDATE listings SET data = ? WHERE guest = ?", (xxh64(lie) + lie, b"a"))
        db.commit()
        db.close()
        s = summary(pool.path)
        expect_equal((s["seen"], s["skipped"]["changed"], s["skipped"]["alone"]), (first["seen"], 1, first["skipped"]["alone"] - 1))
        pool.put("a/dir/new", b"new")
        s = summary(pool.path)
        expect_equal((s["seen"], s["skipped"]["changed"], s["skipped"]["alone"]), (first["seen"] + 1, 0, first["skipped"]["alone"] + 1))


@contextlib.contextmanager
def listed_pool():
    """Two guests with directories of links alone, which a pass that finds all as it was need not open."""
    with new_pool(TOP) as pool:
        for n in range(3):
            pool.put_all("dir/leaf%d/same%d" % (n, n), tree.noise(n, SIZE), guests="ab")
            os.symlink("same%d" % n, pool.at("a/dir/leaf%d/to" % n))
        pool.settle()
        time.sleep(0.3)
        summary(pool.path)
        time.sleep(0.3)
        s = summary(pool.path)
        expect_equal((s["already_linked"], s["directories"], s["skipped"]["symlink"]), (6, 10, 3))
        expect(listing(pool, ".hash"), "the objects are not listed")
        yield pool


@case("a directory of links that is as it was is counted, and what is mounted on one is not taken for it")
def _(_):
    with listed_pool() as pool:
        first = summary(pool.path)
        leaf = pool.at("a/dir/leaf1")
        for source in ("--bind", leaf), ("--bind", pool.at("b/dir/leaf2")), ("-t", "tmpfs", "none"):
            subprocess.run(["mount", *source, leaf], check=True)
            try:
                s = summary(pool.path)
            finally:
                subprocess.run(["umount", leaf], check=True)
            expect_equal((s["already_linked"], s["skipped"]["mount"], s["skipped"]["symlink"]), (5, 1, 2), source)
        again = summary(pool.path)
        for k in ("seen", "already_linked", "directories", "skipped"):
            expect_equal(again[k], first[k], k)


@case("an object that comes or goes is known though all directories of the guests are as they were")
def _(_):
    with listed_pool() as pool:
        gone, = (path for path in pool.objects() if os.stat(path).st_ino == pool.inode("a/dir/leaf1/same1"))
        away = pool.path + ".away"
        os.rename(gone, away)
        s = summary(pool.path)
        expect_equal((s["seen"], s["already_linked"]), (9, 6))
        expect(os.path.exists(gone), "no object again: its links were not looked at")
        os.unlink(away)
        pool.put("c/same1", tree.noise(1, SIZE))
        pool.put_all("new", tree.noise("new", SIZE), guests="cd")
        pool.settle()
        for linked in 2, 0, 0:
            time.sleep(0.3)
            s = summary(pool.path)
            expect_equal((s["linked"], s["already_linked"] + s["objects_created"]), (linked, 9 - linked), "linked")


@case("what the index says of objects and is not true hides files at most, and mixes nothing up")
def _(_):
    with listed_pool() as pool:
        pool.put_all("own", tree.noise("own", SIZE), guests="a")
        pool.settle()
        time.sleep(0.3)
        summary(pool.path)
        said = listing(pool, ".hash")[0]
        names = [os.path.basename(path).encode() for path in pool.objects()]
        number = lambda rel: pool.inode(rel).to_bytes(8, sys.byteorder)
        gone = (1 << 40).to_bytes(8, sys.byteorder)
        swapped = said.replace(names[0], b"?").replace(names[1], names[0]).replace(b"?", names[1])
        for lie in (said.replace(number("a/dir/leaf1/same1"), number("a/own")), said.replace(number("a/dir/leaf1/same1"), gone),
                    swapped, said.replace(names[0][:8], b"ffffffff"), said.replace(names[2], b"x" * len(names[2])), said[:16]):
            expect(lie != said, "no lie")
            db = sqlite3.connect(index(pool))
            db.execute("UPDATE listings SET data = ? WHERE guest = ?", (xxh64(lie[8:]) + lie[8:], b".hash"))
            db.commit()
            db.close()
            pool.put_all("new", tree.noise(0, SIZE), guests="ab")
            pool.settle()
            before = full_inventory(pool.path)
            summary(pool.path)
            expect_same(before, full_inventory(pool.path), "changed by a pass")
            os.unlink(index(pool))
            time.sleep(0.3)
            expect_equal((summary(pool.path)["already_linked"], summary(pool.path)["already_linked"]), (8, 8), "healed")
            for g in "ab":
                os.unlink(pool.at(g, "new"))
            time.sleep(0.3)
            summary(pool.path)
            summary(pool.path)


@case("the directories of a guest that is gone are forgotten, but not by a pass over one guest")
def _(_):
    with new_pool(TOP) as pool:
        for g in "abc":
            pool.put(g + "/dir/own", tree.noise(g, SIZE))
        time.sleep(0.3)
        summary(pool.path)
        expect(all(listing(pool, g) for g in "abc"), "not listed")
        os.rename(pool.at("c"), pool.at("d"))
        summary("--guest", "a", pool.path)
        expect(listing(pool, "c"), "forgotten by a pass over a")
        time.sleep(0.3)
        summary(pool.path)
        expect(not listing(pool, "c") and listing(pool, "d"), "c is remembered, or d is not")


def change_something(pool, rnd):
    """Something that any program might do in a guest."""
    files, dirs = [], []
    for g in "ab":
        for top, below, names in os.walk(pool.at(g)):
            dirs.append(top)
            files += [top + "/" + n for n in names]
    path, d = rnd.choice(files), rnd.choice(dirs)
    new = "%s/n%d" % (d, rnd.randrange(1000))
    what = rnd.randrange(10)
    if os.path.lexists(new):
        return
    if what < 3:  # a file that may have a twin
        tree.put(new, tree.noise(rnd.randrange(5), SIZE))
    elif what == 3:
        os.unlink(path)
    elif what == 4:
        os.rename(path, new)
    elif what == 5:  # as others do natively, with links, too
        tree.put(path + ".new", tree.noise(rnd.randrange(5), SIZE))
        os.rename(path + ".new", path)
    elif what == 6:
        if os.path.isfile(path) and os.stat(path).st_nlink == 1:
            with open(path, "r+b") as f:
                f.write(tree.noise(rnd.randrange(5), SIZE))
            os.utime(path, (tree.OLD // 10**9,) * 2)
    elif what == 7:
        os.mkdir(new)
    elif what == 8:
        other = rnd.choice(dirs)
        if d not in (pool.at("a"), pool.at("b")) and not (other + "/").startswith(d + "/"):
            os.rename(d, "%s/%s" % (other, os.path.basename(new)))
    elif what == 9:
        os.symlink("x", new) if rnd.random() < 0.5 else os.link(path, new)
    for p in (new, path):
        if os.path.isfile(p) and os.stat(p).st_nlink == 1:
            os.utime(p, (tree.OLD // 10**9,) * 2)


@case("a pass that reads what has changed alone finds what one finds that reads all")
def _(_):
    seed = int(os.environ.get("TEST_SEED", "0")) or int(time.time())
    rnd = random.Random(seed)
    print("      TEST_SEED=%d" % seed, flush=True)
    rounds = 150 if os.environ.get("TEST_SCALE") == "full" else 15
    with new_pool(TOP) as pool:
        for g in "ab":
            for n in range(40):
                pool.put("%s/d%d/e%d/f%d" % (g, n % 3, n % 7, n), tree.noise(n, SIZE))
        pool.settle()
        for n in range(rounds):
            for _ in range(rnd.randrange(8)):
                change_something(pool, rnd)
            time.sleep(rnd.choice((0, 0.15)))
            before = full_inventory(pool.path)
            summary(pool.path)
            expect_same(before, full_inventory(pool.path), "changed by a pass")
            if n % 3 == 0:
                continue
            some, every = summary(pool.path), summary("--dry-run", pool.path)
            for k in ("seen", "linked", "already_linked", "objects_created", "directories", "skipped"):
                expect_equal(some[k], every[k], "round %d: %s" % (n, k))


@case("hashify index tells what is known, and makes it anew")
def _(_):
    with hashed_pool() as pool:
        s = summary("index", pool.path)
        expect_equal((s["state"], s["files"], s["passes"], s["last_pass"]["linked"]), ("good", 20, 1, 1))
        expect(b"20  files need not be read again" in command("index", pool.path).stdout, "said otherwise")
        with open(index(pool), "wb") as f:
            f.write(b"rubbish" * 100)
        expect_equal(summary("index", pool.path)["state"], "damaged")
        os.unlink(index(pool))
        expect_equal(summary("index", pool.path)["state"], "none")
        expect(not os.path.exists(index(pool)), "made by looking")
        pool.put("c/same", tree.noise("same", SIZE))
        pool.put("b/own7", tree.noise(7, SIZE))
        pool.settle()
        time.sleep(0.3)
        before = full_inventory(pool.path)
        s = summary("index", "--rebuild", pool.path)
        expect_same(before, full_inventory(pool.path), "changed by index --rebuild")
        expect_equal((s["state"], s["files"]), ("good", 19))
        expect_equal(os.lstat(pool.at("c/same")).st_nlink, 1)
        run(pool, read=(2, 3), linked=2)
        expect_equal(summary("index", pool.path)["passes"], 2)


@case("hashify index tells which --ignore it is for, and makes it anew for another")
def _(_):
    with hashed_pool() as pool:
        expect_equal(summary("index", pool.path)["ignored"], [])
        summary("--ignore=owner,mtime", pool.path)
        s = summary("index", pool.path)
        expect_equal((s["state"], s["ignored"], s["files"], s["passes"]), ("good", ["mtime", "owner"], 20, 1))
        expect(b"--ignore=mtime,owner" in command("index", pool.path).stdout, "said otherwise")
        s = summary("index", "--rebuild", "--ignore=mode", pool.path)
        expect_equal((s["state"], s["ignored"], s["files"]), ("good", ["mode"], 20))
        expect_equal(summary("--ignore=mode", pool.path)["bytes_read"], 0)
        for args in (["--ignore=mode"], ["--rebuild", "--ignore=size"]):
            r = command("index", *args, pool.path)
            expect(r.returncode == 2 and b"--ignore" in r.stderr, args, r.returncode, r.stderr)
        summary("index", "--rebuild", pool.path)
        run(pool, read=0)


sys.exit(cases.run(None))
