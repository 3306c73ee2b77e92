"""hashify verify: what is damaged, where it goes, and which guests' names lead to it."""
import contextlib
import fcntl
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time

import cases
import kernel
import tree
from cases import case, expect, expect_equal
from cli import HASHIFY, command, full_inventory, mounted, mounted_on_itself, new_pool, shared_pool, stamps, summary

TOP = sys.argv[1]
ODD = ["plain", "with space", "new\nline", "\x1b[31mred", "tab\there", "quo\"te\\back", "ü", b"\xff\xfe".decode("utf-8", "surrogateescape")]


def quarantine(pool):
    path = pool.at(".hash/quarantine")
    return sorted(os.listdir(path)) if os.path.exists(path) else []


def object_of(pool, rel):
    ino = pool.inode(rel)
    object, = [o for o in pool.objects() if os.lstat(o).st_ino == ino]
    return object


def verify(pool, *args, status=0):
    """What verify says, which a dry run says first and changes nothing; no guest may notice either."""
    store = sorted(os.walk(pool.at(".hash")))
    guests = full_inventory(pool.path)
    foretold = summary("verify", "-n", pool.path, status=status)
    expect_equal(sorted(os.walk(pool.at(".hash"))), store, "the store after a dry run")
    before = stamps(pool.path)
    s = summary("verify", *args, pool.path, status=status)
    expect_equal(full_inventory(pool.path), guests, "guests after verify")
    expect_equal({k: v[:2] + v[3:] for k, v in stamps(pool.path).items()},
                 {k: v[:2] + v[3:] for k, v in before.items()}, "inodes, links and times of guests")
    for a, b in zip(foretold["findings"], s["findings"]):
        expect_equal((a["names"], a["damage"], a["found_now"]), (b["names"], b["damage"], b["found_now"]))
        expect(a["quarantined"] != a["found_now"] and b["quarantined"], "where it is", a, b)
    expect_equal((foretold["objects"], foretold["damaged"]), (s["objects"], s["damaged"]))
    return s


def flip(path, at=0):
    """Changes one byte, and nothing that stat shows but the ctime."""
    st = os.stat(path)
    with open(path, "r+b", buffering=0) as f:
        byte = os.pread(f.fileno(), 1, at)
        os.pwrite(f.fileno(), bytes([byte[0] ^ 1]), at)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def cut(path):
    st = os.stat(path)
    os.truncate(path, st.st_size - 1)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def strip(path):
    os.removexattr(path, "trusted.hashfs.object")


def remark(path):
    mark = os.getxattr(path, "trusted.hashfs.object")
    os.setxattr(path, "trusted.hashfs.object", mark[:-1] + (b"0" if mark[-1:] != b"0" else b"1"))


DAMAGE = [
    ("content", flip),
    ("size", cut),
    ("metadata", lambda p: os.chmod(p, 0o666)),
    ("metadata", lambda p: os.chown(p, 1234, 0)),
    ("metadata", lambda p: os.utime(p, ns=(tree.OLD, tree.OLD + 1))),
    ("metadata", lambda p: os.setxattr(p, "user.more", b"v")),
    ("mark", strip),
    ("mark", remark),
]


@case("sound objects are all read, and nothing is said of them")
def _(_):
    with new_pool(TOP) as pool:
        sizes = (1, 4095, 4096, 131_072, 131_073, 20_000_001)
        for i, size in enumerate(sizes):
            pool.put_all("f%d" % i, tree.noise(i, size), xattrs={"user.k": b"v"}, mode=0o4755 if i % 2 else 0o600, uid=i)
        summary(pool.path)
        s = verify(pool)
        expect_equal((s["objects"], s["bytes_read"], s["damaged"], s["findings"], s["errors"], s["foreign"]),
                     (len(sizes), sum(sizes), 0, [], 0, 0))
        expect(not os.path.exists(pool.at(".hash/quarantine")), "a quarantine was made for nothing")


@case("each kind of damage is found and named, moved once, and listed for as long as a guest has it")
def _(_):
    with new_pool(TOP) as pool:
        for i in range(len(DAMAGE)):
            pool.put_all("f%d" % i, tree.noise(i, 10_000 + i))
        pool.put_all("sound", tree.noise("sound", 5000))
        summary(pool.path)
        wanted = {}
        for i, (word, harm) in enumerate(DAMAGE):
            object = object_of(pool, "a/f%d" % i)
            wanted[os.path.basename(object)] = ([word], ["%s/f%d" % (g, i) for g in "abc"])
            harm(object)
        s = verify(pool, status=1)
        expect_equal((s["objects"], s["damaged"], s["errors"]), (len(DAMAGE) + 1, len(DAMAGE), 0))
        expect_equal({os.path.basename(f["object"]): (f["damage"], f["names"]) for f in s["findings"]}, wanted)
        for f in s["findings"]:
            expect(f["object"].startswith(".hash/quarantine/") and f["found_now"], f)
        expect_equal(quarantine(pool), sorted(wanted))
        expect_equal(stat.S_IMODE(os.stat(pool.at(".hash/quarantine")).st_mode), 0o700)
        expect_equal([os.lstat(o).st_ino for o in pool.objects()], [pool.inode("a/sound")])
        for i in range(len(DAMAGE)):  # a mount must take each for a link
            expect("trusted.hashfs.object" in os.listxattr(pool.at("a/f%d" % i)), "no mark", i)

        s = verify(pool, status=1)  # the second run
        expect_equal((s["objects"], s["damaged"]), (1, 0))
        expect_equal({os.path.basename(f["object"]): (f["damage"], f["names"]) for f in s["findings"]},
                     {k: ([], v[1]) for k, v in wanted.items()})
        expect(not any(f["found_now"] for f in s["findings"]), "found twice")

        for i in range(len(DAMAGE)):
            for g in "abc":
                os.unlink(pool.at(g, "f%d" % i))
        expect_equal(verify(pool)["findings"], [])
        s = summary("gc", pool.path)
        expect_equal((s["removed"], s["kept"], s["quarantined"]), (len(DAMAGE), 1, 0))
        expect_equal(quarantine(pool), [])


@case("a byte at either end, or between, of a large object")
def _(_):
    size = 17_000_000
    for at in (0, 8 * 1024 * 1024, size - 1):
        with new_pool(TOP) as pool:
            pool.put_all("f", tree.noise(1, size))
            summary(pool.path)
            flip(object_of(pool, "a/f"), at)
            expect_equal(verify(pool, status=1)["findings"][0]["damage"], ["content"], "at %d" % at)


@case("what has an object's name and is no file is damage as well")
def _(_):
    with new_pool(TOP) as pool:
        for n in "123":
            pool.put_all(n, n.encode() * 100)
        summary(pool.path)
        makers = (lambda p: os.symlink("/etc/passwd", p), os.mkfifo, os.mkdir)
        for n, make in zip("123", makers):
            object = object_of(pool, "a/" + n)
            os.unlink(object)
            make(object)
        s = verify(pool, status=1)
        expect_equal([f["damage"] for f in s["findings"]], [["kind"]] * 3)
        expect_equal(len(quarantine(pool)), 3)
        expect_equal(verify(pool)["findings"], [])
        expect_equal(summary("gc", pool.path)["removed"], 0)


@case("names are listed whatever they are called, in all guests, once each")
def _(_):
    with new_pool(TOP) as pool:
        for n in ODD:
            pool.put_all("dir " + n + "/" + n, b"content")
        pool.put_all("other", b"another content")
        summary(pool.path)
        flip(object_of(pool, "a/dir plain/plain"))
        s = verify(pool, status=1)
        shown = [n.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for n in ODD]
        expect_equal(sorted(s["findings"][0]["names"]), sorted("%s/dir %s/%s" % (g, n, n) for g in "abc" for n in shown))
        r = command("verify", pool.path)
        expect_equal(r.returncode, 1)
        lines = r.stdout.split(b"\n")
        expect_equal(sum(line.startswith(b"    ") for line in lines), 3 * len(ODD), "lines of names")
        expect(b"\x1b" not in r.stdout and b"    a/dir plain/plain" in lines, r.stdout)


@case("later passes link nothing to a damaged object, and do not trip over it")
def _(_):
    with new_pool(TOP) as pool:
        content = tree.noise(1, 10_000)
        pool.put_all("f", content)
        summary(pool.path)
        damaged = object_of(pool, "a/f")
        flip(damaged, 5000)
        verify(pool, status=1)
        pool.put_all("g", content)  # sound, and once called the same
        s = pool.run()
        expect_equal((s["objects_created"], s["linked"], s["errors"], s["foreign"]), (1, 2, 0, 0))
        pool.expect_linked("a/g", "b/g", "c/g")
        expect(not pool.linked("a/f", "a/g"), "linked to the damaged one")
        expect_equal(tree.slurp(pool.at("a/g")), content)
        expect_equal(os.path.basename(object_of(pool, "a/g")), os.path.basename(damaged), "its name")

        flip(object_of(pool, "a/g"), 7000)  # a second one of the same name
        s = verify(pool, status=1)
        expect_equal(sorted(f["names"] for f in s["findings"]), [["a/f", "b/f", "c/f"], ["a/g", "b/g", "c/g"]])
        expect_equal(len(quarantine(pool)), 2)
        expect_equal(pool.objects(), [])
        expect_equal(summary("gc", pool.path)["quarantined"], 2)
        summary("stat", pool.path)


@case("beside a live mount: links to what is in quarantine stay links, and the store stays hidden")
def _(_):
    with shared_pool(TOP, guests="abc", f=b"content", g=b"another content") as pool:
        flip(object_of(pool, "a/f"))
        with mounted(pool.path, TOP + "/mnt") as mnt:
            strip(object_of(pool, "a/g"))  # before, the mount would mark it anew
            f = open(mnt + "/a/f", "rb", buffering=0)
            expect_equal(verify(pool, status=1)["damaged"], 2)
            with f:
                expect_equal(f.read(), b"bontent")
            expect_equal(sorted(os.listdir(mnt)), ["a", "b", "c"])
            expect(not os.path.exists(mnt + "/.hash/quarantine"), "the quarantine can be seen")
            for n in "fg":
                expect_equal(os.stat(mnt + "/b/" + n).st_nlink, 1)
                with open(mnt + "/b/" + n, "r+b") as f:
                    f.write(b"B")
                expect_equal((tree.slurp(mnt + "/b/" + n)[:1], tree.slurp(mnt + "/c/" + n)[:1] == b"B"), (b"B", False))
        expect_equal(sorted(x["names"] for x in summary("verify", pool.path, status=1)["findings"]),
                     [["a/f", "c/f"], ["a/g", "c/g"]])


@case("why tells a link to what is in quarantine, and unshare makes it private")
def _(_):
    with shared_pool(TOP, f=b"content") as pool:
        expect(not summary("why", pool.at("a/f"))["damaged"], "damaged before it was")
        flip(object_of(pool, "a/f"))
        verify(pool, status=1)
        w = summary("why", pool.at("a/f"))
        expect_equal((w["state"], w["damaged"], w["names"]), ("link", True, ["a/f", "b/f", "c/f"]))
        shown = tree.slurp(pool.at("a/f"))
        expect_equal(summary("unshare", pool.at("a/f"))["unshared"], 1)
        expect_equal(summary("unshare", pool.at("b"))["unshared"], 1)
        for g in "ab":
            pool.expect_private(g + "/f")
            expect_equal((tree.slurp(pool.at(g, "f")), os.listxattr(pool.at(g, "f"))), (shown, []))
        expect_equal(verify(pool, status=1)["findings"][0]["names"], ["c/f"])
        expect_equal(summary("why", pool.at("c/f"))["names"], ["c/f"])
        expect_equal(os.listdir(pool.at(".hash/tmp")), [])


@case("a pass and stat tell of what is in quarantine")
def _(_):
    with shared_pool(TOP, f=b"content", g=b"another content") as pool:
        expect_equal(summary("stat", pool.path)["quarantined"], 0)
        flip(object_of(pool, "a/f"))
        verify(pool, status=1)
        os.link(pool.at("b/g"), pool.at("b/own"))
        pool.put("b/pair", b"pair")
        os.link(pool.at("b/pair"), pool.at("b/pair2"))
        for s in (pool.dry_run(), summary(pool.path)):
            expect_equal((s["skipped"]["damaged"], s["skipped"]["hard_linked"], s["already_linked"]), (3, 2, 4))
        r = command("-q", pool.path)
        expect(r.returncode == 0 and b"3 names in guests are links to damaged objects; run hashify verify" in r.stderr, r)
        expect_equal(summary("stat", pool.path)["quarantined"], 1)
        expect(b"1 damaged object (" in command("stat", pool.path).stdout, "not said")


@case("a pool that is copied with what is in quarantine: its links are marked anew, too")
def _(_):
    with shared_pool(TOP, f=b"content") as pool:
        flip(object_of(pool, "a/f"))
        verify(pool, status=1)
        copy = pool.path + ".copy"
        subprocess.run(["cp", "-a", pool.path, copy], check=True)
        try:
            os.removexattr(copy + "/a/f", "trusted.hashfs.object")
            summary(copy)
            expect("trusted.hashfs.object" in os.listxattr(copy + "/a/f"), "no mark")
            expect_equal(summary("verify", copy, status=1)["findings"][0]["names"], ["a/f", "b/f", "c/f"])
        finally:
            subprocess.run(["rm", "-rf", "--one-file-system", copy], check=True)


@case("reading leaves no trace: neither atime nor pages that were not there before")
@kernel.undisturbed
def _(_):
    with new_pool(TOP) as pool, kernel.caches_alone():
        size = 20_000_000
        pool.put_all("f", tree.noise(1, size), atime=tree.OLD)
        summary(pool.path)
        kernel.drop_caches()
        os.utime(pool.at("a/f"), ns=(tree.OLD, tree.OLD))  # relatime would move it now
        fd = os.open(pool.at("a/f"), os.O_RDONLY | os.O_NOATIME)
        try:
            summary("verify", pool.path)
            expect_equal(os.fstat(fd).st_atime_ns, tree.OLD, "atime")
            expect_equal(kernel.cached_pages(fd), 0, "pages in memory")
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
            for at in (0, 9_000_000, 16_000_000):
                os.pread(fd, 100_000, at)
            before = kernel.cached_pages(fd)
            expect(before > 0, "nothing was read")
            summary("verify", pool.path)
            expect_equal(kernel.cached_pages(fd), before, "pages in memory")
        finally:
            os.close(fd)


@case("those that were verified or linked longest ago come first, and a stop leaves the rest")
def _(_):
    with shared_pool(TOP, old=tree.noise(1, 300_000), new=tree.noise(2, 300_000)) as pool:
        for n in ("old", "new"):
            flip(object_of(pool, "a/" + n))
            time.sleep(0.02)  # the clock of ctime is coarse
        process = subprocess.Popen([HASHIFY, "verify", "--json", "--io-limit=200K", pool.path], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        line = process.stderr.readline()  # the first is found
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
        expect_equal(process.returncode, 1, "a run that is stopped each night must tell of damage")
        s = json.loads(out)
        expect_equal((s["stopped_by"], s["damaged"], s["names_complete"]), ("SIGTERM", 1, True))
        expect_equal([f["names"] for f in s["findings"]], [["a/old", "b/old", "c/old"]])
        expect(b"damaged (content)" in line and b"quarantine" in line, line)
        expect_equal([os.lstat(o).st_ino for o in pool.objects()], [pool.inode("a/new")])
        expect_equal(len(summary("verify", pool.path, status=1)["findings"]), 2)


def verified_until_stopped(pool, limit):
    """What a run with this limit has verified when SIGINT stops it, amid its work."""
    process = subprocess.Popen([HASHIFY, "verify", "--json", "--io-limit", limit, pool.path], stdout=subprocess.PIPE)
    time.sleep(1.5)  # at that limit, nothing but time tells how far it is
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    expect_equal(process.returncode, 130)
    return json.loads(out)["objects"]


@case("a run that was stopped is gone on with, a whole one begins again, and an index lost costs the order alone")
def _(_):
    with new_pool(TOP) as pool:
        count, size = 40, 50_000
        for i in range(count):
            pool.put_all("f%d" % i, tree.noise(i, size), guests="ab")
        summary("--ignore=mtime", pool.path)
        files = known(pool)
        done = 0
        while done < 3:  # each begins where the last has ended
            done += verified_until_stopped(pool, "400K")
        expect(done < count / 2, done, "of", count, "verified at once")
        times = verified(pool)
        expect_equal(len(times), done, "objects that are known to be verified")
        expect_equal(known(pool), files, "what passes know")

        more = verified_until_stopped(pool, "400K")
        new = verified(pool)
        expect_equal(len(new), done + more, "objects that are known to be verified")
        expect(times.items() <= new.items(), "one was verified again before others were at all")

        expect_equal(summary("verify", "-n", pool.path)["objects"], count)
        expect_equal(verified(pool), new, "after a dry run")
        expect_equal(summary("verify", pool.path)["objects"], count)
        whole = verified(pool)
        expect_equal(len(whole), count)
        expect(min(whole.values()) > max(new.values()), "not all anew")
        for g in "ab":
            os.unlink(pool.at(g, "f0"))
        summary("gc", pool.path)
        expect_equal((summary("verify", pool.path)["objects"], len(verified(pool))), (count - 1, count - 1))
        with open(pool.at(".hash/index.sqlite"), "wb") as f:
            f.write(b"rubbish" * 1000)
        for args, says in (("-n", False), ("--json", True), ("--json", False)):
            r = command("verify", args, pool.path)
            expect_equal((r.returncode, b"index.sqlite: was damaged; it is made anew" in r.stderr), (0, says), (args, r.stderr))
        expect_equal((summary("verify", pool.path)["objects"], len(verified(pool))), (count - 1, count - 1))


def rows(pool, sql):
    db = sqlite3.connect(pool.at(".hash/index.sqlite"))
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def verified(pool):
    """When objects were verified, by inode."""
    return dict(rows(pool, "SELECT ino, at FROM verified"))


def known(pool):
    return rows(pool, "SELECT ignored FROM owner"), rows(pool, "SELECT * FROM files"), rows(pool, "SELECT * FROM passes")


@case("a limit is kept, and a wrong one is refused")
def _(_):
    with shared_pool(TOP, f=tree.noise(1, 2_000_000)) as pool:
        start = time.monotonic()
        summary("verify", "--io-limit", "1M", pool.path)
        took = time.monotonic() - start
        expect(took > 1.5, "2 MB at 1 MiB/s took", took, "s")
        summary("verify", "--io-limit=0", pool.path)
        for wrong in ("", "00", "-1", "1X", "1MM", "many", "99999999999999999999", "20000000T"):
            r = command("verify", "--io-limit", wrong, pool.path)
            expect(r.returncode == 2 and b"--io-limit" in r.stderr, wrong, r)


@case("a damaged object that cannot be moved is an error, and stays listed")
def _(_):
    with shared_pool(TOP, f=b"content") as pool:
        object = object_of(pool, "a/f")
        flip(object)
        subprocess.run(["chattr", "+i", object], check=True)
        try:
            s = summary("verify", pool.path, status=2)
            expect_equal((s["damaged"], s["errors"]), (1, 1))
            f, = s["findings"]
            expect_equal((f["quarantined"], f["names"], f["object"]),
                         (False, ["a/f", "b/f", "c/f"], os.path.relpath(object, pool.path)))
        finally:
            subprocess.run(["chattr", "-i", object], check=True)
        verify(pool, status=1)


@case("beside another hashify it is refused, a dry run is not")
def _(_):
    with shared_pool(TOP, f=b"content") as pool:
        flip(object_of(pool, "a/f"))
        with open(pool.at(".hash/pass")) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            r = command("verify", pool.path)
            expect(r.returncode == 2 and b"another hashify" in r.stderr, r)
            expect_equal(summary("verify", "-n", pool.path, status=1)["damaged"], 1)
        expect_equal(quarantine(pool), [])


@case("without a store, and help")
def _(_):
    with new_pool(TOP) as pool:
        pool.put("a/f", b"content")
        r = command("verify", pool.path)
        expect(r.returncode == 2 and b"no store" in r.stderr, r)
    r = command("verify", "--help")
    expect_equal((r.returncode, r.stderr), (0, b""))
    for word in (b"--dry-run", b"--json", b"--io-limit", b"Exit status"):
        expect(word in r.stdout, word)


@case("guests that are mounted on themselves are seen by all who look")
def _(_):
    with shared_pool(TOP, guests="abc", f=b"content", g=b"another content") as pool:
        pool.put("c/later", b"content")
        pool.settle()

        def looks():
            stat = summary("stat", pool.path)
            why = summary("why", pool.at("b/g"))
            return (stat["links"], stat["unused"], stat["disk_saved"], why["state"], why["names"],
                    {k: v for k, v in summary("-n", pool.path).items() if k != "seconds"})
        before = looks()
        with contextlib.ExitStack() as mounts:
            for g in "ab":
                mounts.enter_context(mounted_on_itself(pool.at(g)))
            expect_equal(looks(), before)
            with open(pool.at("c/f"), "r+b") as f:  # natively, and so in all guests
                f.write(b"C")
            s = summary("verify", pool.path, status=1)
            expect_equal((s["findings"][0]["names"], s["names_complete"]), (["a/f", "b/f", "c/f"], True))


sys.exit(cases.run(None))
