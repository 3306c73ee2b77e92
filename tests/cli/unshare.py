"""Links become private files that show what they showed, one by one, whatever happens meanwhile."""
import fcntl
import os
import random
import resource
import signal
import subprocess
import sys
import time

import cases
import tree
from cases import case, expect, expect_equal
from cli import FULL, HASHIFY, MORTAL, command, expect_same, full_inventory, new_pool, summary
from inventory import describe

TOP = sys.argv[1]
NOBODY = 65534
KILLS = 300 if FULL else 25
ODD = ["new\nline", b"\xff\xfe".decode(errors="surrogateescape"), "-n", "x" * 255]


def fill(pool):
    pool.put_all("usr/plain", tree.noise(1, 70000))
    pool.put_all("usr/sparse", [(0, b"begin"), (500_000, b"middle"), (900_000, b"")], holes=True)
    pool.put_all("usr/acl", b"with an ACL", mode=0o640, uid=7, gid=8, mtime=tree.OLD + 5, xattrs={
        "user.a": b"1", "system.posix_acl_access": tree.acl(
            (tree.USER_OBJ, 6, 0), (tree.USER, 4, 1000), (tree.GROUP_OBJ, 4, 0), (tree.MASK, 4, 0), (tree.OTHER, 4, 0))})
    pool.put_all("usr/cap", b"a program", mode=0o755, xattrs={"security.capability": tree.CAP_NET_RAW})
    pool.put_all("usr/suid", b"a program with a bit", mode=0o4755)
    for n in ODD:
        pool.put_all("odd/" + n, b"odd" + n.encode(errors="surrogateescape"))
    for i in range(30):
        pool.put_all("many/f%d" % i, tree.noise(i, 3000 + i))
    pool.put("a/own", b"own")
    pool.settle()


def links(pool, guest):
    return sorted(os.path.relpath(os.path.join(d, n), pool.at(guest)) for d, _, names in os.walk(pool.at(guest))
                  for n in names if os.lstat(os.path.join(d, n)).st_nlink > 1)


def marks(path):
    return [x for x in os.listxattr(path) if "hashfs" in x]


def fill_disk(leave):
    """A file that leaves so many bytes free; its path."""
    path = TOP + "/filler"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.sync()
    st = os.statvfs(TOP)
    try:
        os.posix_fallocate(fd, 0, st.f_bfree * st.f_bsize - leave)  # root may use what ext4 keeps for it
    except OSError:
        os.posix_fallocate(fd, 0, st.f_bavail * st.f_bsize - leave)
    os.close(fd)
    return path


def clones(path):
    done = subprocess.run(["cp", "--reflink=always", path, TOP + "/clone"], capture_output=True).returncode == 0
    if os.path.exists(TOP + "/clone"):
        os.unlink(TOP + "/clone")
    return done


def files_alone(inventories):
    """But for directories: those of a killed hashify may show when that was."""
    return {g: {k: v for k, v in i.items() if not v.startswith("d ")} for g, i in inventories.items()}


def unshare(pool, path, *args, **kw):
    """Runs it; nothing that a guest may notice may change."""
    before = full_inventory(pool.path)
    foretold = summary("unshare", "-n", path)
    expect_same(before, full_inventory(pool.path), "changed by a dry run")
    s = summary("unshare", *args, path, **kw)
    expect_same(before, full_inventory(pool.path), "changed by unshare")
    expect_equal(os.listdir(pool.at(".hash/tmp")), [], "left in tmp/")
    expect_equal((foretold["unshared"], foretold["errors"]), (s["unshared"], s["errors"]), "foretold otherwise")
    return s


@case("a file, a directory, a guest, the pool")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        summary(pool.path)
        all_links = links(pool, "a")
        expect_equal(unshare(pool, pool.at("a/usr/acl"))["unshared"], 1)
        expect_equal((os.lstat(pool.at("a/usr/acl")).st_nlink, marks(pool.at("a/usr/acl"))), (1, []))
        expect_equal(unshare(pool, pool.at("a/usr/acl"))["unshared"], 0)
        pool.expect_linked("b/usr/acl", "c/usr/acl")
        expect_equal(unshare(pool, pool.at("a/usr"))["unshared"], 4)
        expect(os.lstat(pool.at("a/usr/sparse")).st_blocks * 512 < 100_000, "holes were filled")
        expect_equal(unshare(pool, pool.at("a"))["unshared"], len(all_links) - 5)
        expect_equal(links(pool, "a"), [])
        expect_equal(links(pool, "b"), all_links)
        expect_equal(unshare(pool, pool.path)["unshared"], 2 * len(all_links))
        expect_equal(summary("gc", pool.path)["removed"], len(all_links))
        expect_equal(os.listdir(pool.at(".hash/tmp")), [])
        expect_equal(summary(pool.path)["linked"], 2 * len(all_links), "shared again")


@case("a limit on the size of files is lifted; for who may not do that, a file that is larger stays shared")
def _(_):
    for user, most, unshared in ((None, resource.RLIM_INFINITY, 2), (NOBODY, 65536, 1)):
        with new_pool(TOP) as pool:
            pool.put_all("large", tree.noise(1, 70000), uid=NOBODY, gid=NOBODY)
            pool.put_all("small", b"small", uid=NOBODY, gid=NOBODY)
            for d in (pool.path, pool.at("a"), pool.at("b"), pool.at("c")):
                os.chown(d, NOBODY, NOBODY)
            pool.settle()
            expect_equal(summary(pool.path, user=user)["linked"], 4)
            s = summary("unshare", pool.at("a"), user=user, status=2 - unshared,
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65536, most)))
            expect_equal((s["unshared"], s["errors"]), (unshared, 2 - unshared))
            expect_equal(tree.slurp(pool.at("a/large")), tree.noise(1, 70000))


@case("two names of one object in a guest become two files")
def _(_):
    with new_pool(TOP) as pool:
        pool.put("a/one", b"same")
        pool.put("a/two", b"same")
        pool.settle()
        summary(pool.path)
        pool.expect_linked("a/one", "a/two")
        expect_equal(unshare(pool, pool.at("a"))["unshared"], 2)
        expect(pool.inode("a/one") != pool.inode("a/two"), "still one file")


@case("the object is read without moving its atime")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", tree.noise(1, 70000))
        pool.settle()
        summary(pool.path)
        os.utime(pool.at("a/f"), ns=(tree.OLD, tree.OLD))  # relatime would move it now
        summary("unshare", pool.at("a/f"))
        pool.expect_private("a/f")
        for rel in ("a/f", "b/f"):
            expect_equal(os.lstat(pool.at(rel)).st_atime_ns, tree.OLD, "atime of " + rel)


@case("paths that are none of a guest are refused")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        summary(pool.path)
        os.symlink("usr/plain", pool.at("a/link"))
        os.mkdir(TOP + "/outside")
        for path in (pool.at(".hash"), pool.at(".hash/objects"), TOP + "/outside", pool.at("a/none"), "/proc/self"):
            r = command("unshare", path)
            expect(r.returncode == 2 and os.path.basename(path).encode() in r.stderr, path, r.returncode, r.stderr)
        os.rmdir(TOP + "/outside")
        expect_equal(summary("unshare", pool.at("a/link"))["unshared"], 0)
        pool.expect_linked("a/usr/plain", "b/usr/plain")
        os.symlink(pool.at("a"), TOP + "/to-guest")
        expect_equal(summary("unshare", TOP + "/to-guest/usr/plain")["unshared"], 1)
        os.unlink(TOP + "/to-guest")


@case("a guest's symbolic link on the way is not followed, the host's are")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        os.symlink("../b/usr", pool.at("a/to-b"))
        os.symlink(pool.at("c"), pool.at("a/usr/to-c"))
        os.symlink("usr", pool.at("a/inside"))
        summary(pool.path)
        for rel in ("a/to-b/plain", "a/to-b/", "a/usr/to-c/usr/plain", "a/usr/to-c/usr/..", "a/inside/plain"):
            for name in ("unshare", "why"):
                r = command(name, pool.at(rel))
                expect(r.returncode == 2 and os.fsencode(rel) in r.stderr and b"symbolic link of a guest" in r.stderr, rel, r)
        for guest in "abc":
            pool.expect_linked(guest + "/usr/plain", "b/usr/plain")

        os.symlink(pool.path, TOP + "/to-pool")
        os.symlink("to-pool/a", TOP + "/to-guest")
        os.symlink("a", pool.at("host"))
        os.symlink("to-pool/a/usr/plain", TOP + "/to-file")
        try:
            for path in (TOP + "/to-pool/a/usr/plain", TOP + "/to-guest/usr/plain", pool.at("host/usr/plain"), TOP + "/to-guest/",
                         TOP + "/to-guest", pool.at("host"), TOP + "/to-file",
                         TOP + "/to-pool/b/../a//usr/./plain", pool.at("b/usr") + "/../../a/usr/plain"):
                r = command("why", path)
                expect_equal((r.returncode, r.stderr), (0, b""), path)
            expect_equal(summary("unshare", "-n", TOP + "/to-pool")["errors"], 0)
            r = command("why", TOP + "/to-guest/to-b/plain")
            expect(r.returncode == 2 and b"symbolic link of a guest" in r.stderr, r)
        finally:
            for link in (TOP + "/to-pool", TOP + "/to-guest", TOP + "/to-file", pool.at("host")):
                os.unlink(link)

        for cwd, path in ((pool.at("a/usr"), "plain"), (pool.at("a"), "./usr/acl"), (pool.at("a/odd"), "../usr/cap"),
                          (pool.path, "a/usr/suid"), (pool.at("b"), "../a/odd/")):
            s = summary("unshare", path, cwd=cwd)
            expect_equal(s["unshared"], len(ODD) if path.endswith("odd/") else 1, path)
        pool.expect_private("a/usr/plain", "a/usr/acl", "a/usr/cap", "a/usr/suid", "a/odd/-n")
        expect_equal(summary("unshare", ".", cwd=pool.at("b/odd"))["unshared"], len(ODD))
        for path in ("", "usr/plain/", "usr/plain/..", "usr/none/.."):
            r = command("unshare", path, cwd=pool.at("a"))
            expect(r.returncode == 2 and r.stderr, path, r)


@case("a full disk ends it, and loses nothing")
def _(_):
    with new_pool(TOP) as pool:
        for i in range(8):
            pool.put_all("f%d" % i, tree.noise(i, 1_000_000))
        pool.settle()
        summary(pool.path)
        filler = fill_disk(leave=2_500_000)
        before = full_inventory(pool.path)
        r = command("unshare", "--json", pool.path)
        os.unlink(filler)
        if r.returncode == 0:
            expect(clones(pool.at("a/f0")), "all was copied to a full disk")
            return
        expect(r.returncode == 2 and b"No space left" in r.stderr, r.returncode, r.stderr)
        expect_same(before, full_inventory(pool.path), "changed by unshare on a full disk")
        expect_equal(os.listdir(pool.at(".hash/tmp")), [])
        unshare(pool, pool.path)


def move_in(pool, name):
    """Makes the pool @name in @pool, of two guests with the same file, as one that was moved there."""
    with new_pool(TOP, "other") as other:
        for n in ("bin", "lib"):
            other.put(n + "/usr/f", b"shared")
        other.settle()
        summary(other.path)
        os.rename(other.path, pool.at(name))


@case("a directory above a pool is none, and gets no store")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared", guests=("a/x", "a/y", "b"))
        pool.settle()
        summary(pool.at("a"))
        for args in ([], ["-n"], ["--guest=b"]):
            r = command(*args, pool.path)
            expect(r.returncode == 2 and b"/a in it has: that is a pool already" in r.stderr, args, r)
        for name in ("index --rebuild", "gc", "verify", "stat"):
            r = command(*name.split(), pool.path)
            expect(r.returncode == 2 and b"has no store" in r.stderr, name, r)
        expect_equal(sorted(os.listdir(pool.path)), ["a", "b"])
        expect_equal(summary("unshare", pool.at("a"))["unshared"], 2)
        subprocess.run(["rm", "-r", pool.at("a/.hash")], check=True)
        expect_equal(pool.run()["objects_created"], 1)


@case("a pool that was moved into another: a pass names it, and unshare lets its files be shared with others")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared", guests="b")
        pool.settle()
        summary(pool.path)
        move_in(pool, "a")
        expect_equal(os.lstat(pool.at("a/bin/usr/f")).st_nlink, 3)
        r = command(pool.path)
        expect(r.returncode == 0 and r.stderr.count(b"\n") == 1, r)
        expect(b"/a: has a store of its own (.hash)" in r.stderr and b"run hashify unshare " + pool.at("a").encode() in r.stderr,
               r.stderr)
        expect(b"store of its own" not in command("--guest=b", pool.path).stderr, "named with another guest")
        expect_equal(summary("unshare", "-n", pool.at("a"))["unshared"], 3)  # and the object's own name
        expect_equal(links(pool, "a/bin"), ["usr/f"])
        with open(pool.at("a/.hash/lock")) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)  # as a mount of that does
            for path in (pool.at("a"), pool.at("a/bin"), pool.path):
                r = command("unshare", path)
                expect(r.returncode == 2 and b"in use" in r.stderr, path, r)
        expect_equal(summary("unshare", pool.at("a"))["unshared"], 3)
        expect_equal(links(pool, "a"), [])
        subprocess.run(["rm", "-r", pool.at("a/.hash")], check=True)
        r = command(pool.path)
        expect_equal((r.returncode, r.stderr), (0, b""))
        pool.expect_linked("a/bin/usr/f", "a/lib/usr/f", "b/usr/f")
        expect_equal(summary("unshare", pool.at("a"))["unshared"], 2)


@case("a guest in which another store is in use is left alone, however deep that lies")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared", guests="bc")
        pool.settle()
        summary(pool.path)
        os.makedirs(pool.at("a/srv/deep"))
        move_in(pool, "a/srv/deep/pool")
        pool.put("a/usr/f", b"shared")
        pool.put("a/srv/deep/pool/bin/usr/new", b"new")
        pool.put("b/usr/new", b"new")
        for i in range(2000):  # too many for --memory=1, so that the guests are walked again for each part
            pool.put("b/own/%d" % i, b"own %d" % i)
        pool.settle()
        with open(pool.at("a/srv/deep/pool/.hash/lock")) as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            for args in (["-n"], [], ["--memory=1"], []):
                s = summary(*args, pool.path, status=1)
                expect_equal((s["linked"], s["objects_created"]), (0, 0), args)
            expect_equal(s["skipped"]["served"] > 0, True)
            for path in ("a", "a/srv", "a/srv/deep/pool", "a/srv/deep/pool/bin", "a/srv/deep/pool/bin/usr/new"):
                r = command("unshare", pool.at(path))
                expect(r.returncode == 2 and b"in use" in r.stderr, path, r)
            pool.expect_private("a/usr/f", "a/srv/deep/pool/bin/usr/new", "b/usr/new")
        s = summary(pool.path)
        expect_equal((s["linked"], s["objects_created"]), (2, 1))
        pool.expect_linked("a/usr/f", "b/usr/f", "c/usr/f")


def is_held(lock, pid):
    inode = ":%d " % os.stat(lock).st_ino
    with open("/proc/locks") as f:
        return any(" FLOCK " in line and " %d " % pid in line and inode in line for line in f)


@case("a store in a guest cannot come into use while a pass runs")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared", guests="bc")
        pool.settle()
        summary(pool.path)
        move_in(pool, "a")
        for i in range(40):
            pool.put("b/own/%d" % i, tree.noise(i, 50_000))
            pool.put("c/own/%d" % i, tree.noise(i, 50_000))
        pool.settle()
        lock = pool.at("a/.hash/lock")
        with subprocess.Popen([HASHIFY, "--no-default-excludes", "-q", "--io-limit=400K", pool.path]) as p:
            while not is_held(lock, p.pid):
                expect(p.poll() is None, "it is never held")
                time.sleep(0.01)
            for _ in range(50):  # it reads by now
                expect(is_held(lock, p.pid), "it is let go")
                time.sleep(0.02)
            expect(p.poll() is None, "the pass was too short")
            p.terminate()


@case("what a guest makes its store of is never written to, nor opened if it is no file")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared")
        pool.settle()
        summary(pool.path)
        objects = {os.path.join(d, n): describe(os.path.join(d, n))
                   for d, _, names in os.walk(pool.at(".hash/objects")) for n in names}
        # A store that is in order but for what a mount lets a guest make: links that were moved there, and no marks.
        with new_pool(TOP, "other") as other:
            summary(other.path)
            os.rename(other.at(".hash"), pool.at("a/.hash"))
        with open(pool.at("a/.hash/format"), "rb") as f:
            text = f.read()
        os.unlink(pool.at("a/.hash/format"))
        with open(pool.at("a/.hash/format"), "wb") as f:
            f.write(text)
        os.rename(pool.at("a/usr/f"), pool.at("a/.hash/format.new"))
        name = next(iter(objects))
        fake = pool.at("a/.hash/objects", os.path.relpath(name, pool.at(".hash/objects")))
        os.makedirs(os.path.dirname(fake), exist_ok=True)
        os.link(pool.at("a/.hash/format.new"), fake)
        expect_equal(summary("unshare", pool.at("a"))["unshared"], 2)
        for path, before in objects.items():
            expect_equal(describe(path), before, path)
        expect_equal(command("verify", pool.path).returncode, 0)
        expect_equal(links(pool, "a"), [])
        for name in ("format", "lock", "pass", "marked"):
            path = pool.at("a/.hash", name)
            os.unlink(path) if os.path.exists(path) else None
            os.mkfifo(path)
            for args in ([pool.path], ["unshare", pool.at("a")]):
                r = command(*args, limit=30)
                expect(r.returncode == 0, name, args, r)


@case("killed at any moment, nothing is lost and the next command tidies up")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        summary(pool.path)
        before = files_alone(full_inventory(pool.path))
        rng = random.Random(1)
        begun = time.monotonic()
        summary("unshare", "--sync=none", pool.path)
        duration = time.monotonic() - begun
        summary(pool.path)
        hit = tried = 0
        while hit < KILLS:
            expect(tried < 5 * KILLS, "only", hit, "of", tried, "were hit")
            p = subprocess.Popen([HASHIFY, "unshare", "--sync=none", pool.path], env=MORTAL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(0, duration))  # the moment of the kill, not a wait for anything
            p.kill()
            hit, tried = hit + (p.wait() == -signal.SIGKILL), tried + 1
            expect_same(before, files_alone(full_inventory(pool.path)), "changed by a killed unshare")
            summary(pool.path)
            expect_equal(os.listdir(pool.at(".hash/tmp")), [], "left in tmp/")
        print("      %d of %d were hit" % (hit, tried))


def lose_objects(pool):
    """As a store does that was restored from a backup of before the objects were made."""
    for d, _, names in os.walk(pool.at(".hash/objects")):
        for n in names:
            os.unlink(os.path.join(d, n))


@case("links whose objects have lost their names are links again after a pass, and are unshared, one or all")
def _(_):
    for way in ("pass", "file", "all"):
        with new_pool(TOP) as pool:
            pool.put_all("usr/f", b"content")
            pool.put_all("usr/g", b"another")
            pool.put_all("usr/own", b"own")
            os.link(pool.at("a/usr/own"), pool.at("a/usr/own2"))
            pool.settle()
            pool.run()
            lose_objects(pool)
            if way == "pass":
                s = pool.run()
                expect_equal((s["already_linked"], s["skipped"]["hard_linked"]), (8, 2))
                pool.expect_linked("a/usr/f", "b/usr/f", "c/usr/f")
                expect_equal(sum(len(names) for _, _, names in os.walk(pool.at(".hash/objects"))), 3, "objects")
                expect_equal(command("verify", pool.path).returncode, 0, "verify")
            elif way == "file":
                expect_equal(command("unshare", pool.at("a/usr/f")).returncode, 0)
                pool.expect_private("a/usr/f")
                pool.run()  # gives the object its name again
                pool.run()
                pool.expect_linked("a/usr/f", "b/usr/f", "c/usr/f")
            else:
                expect_equal(command("unshare", pool.path).returncode, 0)
                expect_equal((links(pool, "a"), links(pool, "b"), links(pool, "c")), (["usr/own", "usr/own2"], [], []))


@case("what is in quarantine gets no name as an object again")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content")
        pool.settle()
        pool.run()
        with open(pool.at("a/f"), "r+b") as f:
            f.write(b"CONTENT")
        os.utime(pool.at("a/f"), ns=(tree.OLD, tree.OLD))
        expect_equal(command("verify", pool.path).returncode, 1)
        s = summary(pool.path)
        expect_equal((s["already_linked"], s["skipped"]["damaged"]), (0, 3))


@case("hard links that several guests have by no pass, and that one has marked, get copies as well")
def _(_):
    with new_pool(TOP) as pool:
        pool.put("a/f", b"content")
        os.makedirs(pool.at("b"))
        os.link(pool.at("a/f"), pool.at("b/f"))
        pool.put_all("g", b"shared", guests="ab")
        pool.settle()
        expect_equal(pool.run()["hard_links_marked"], 1)
        expect_equal(summary("unshare", "-n", pool.at("a"))["unshared"], 2)
        expect_equal(summary("unshare", "-n", pool.at("a/f"))["unshared"], 1)
        expect_equal(summary("unshare", pool.at("a/f"))["unshared"], 1)
        expect_equal(summary("unshare", pool.path)["unshared"], 3)
        expect_equal((links(pool, "a"), links(pool, "b")), ([], []))


@case("what is marked and being written keeps its name")
def _(_):
    with new_pool(TOP) as pool:
        pool.put("a/f", b"content")
        os.makedirs(pool.at("b"))
        os.link(pool.at("a/f"), pool.at("b/f"))
        pool.settle()
        with open(pool.at("a/f"), "r+b") as f:
            expect_equal(pool.run()["hard_links_marked"], 1)
            r = command("unshare", pool.path)
            expect(r.returncode == 1 and r.stderr.count(b"Text file busy") == 2, r)
            f.write(b"CONTENT")
        expect_equal((tree.slurp(pool.at("a/f")), os.path.samefile(pool.at("a/f"), pool.at("b/f"))), (b"CONTENT", True))
        expect_equal(summary("unshare", pool.path)["unshared"], 2)
        expect_equal(os.listdir(pool.at(".hash/tmp")), [])


@case("links that no guest has are left, which is said and an error")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content")
        pool.settle()
        pool.run()
        os.rename(pool.at("a/f"), pool.at("f"))
        r = command("unshare", pool.path)
        expect(r.returncode == 1 and b"1 object has links still" in r.stdout, r)
        expect_equal(summary("unshare", pool.path, status=1)["left"], 1)
        os.unlink(pool.at("f"))
        expect_equal(summary("unshare", pool.path)["left"], 0)


@case("who takes the store down is told of the files of guests that are kept there")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content")
        pool.settle()
        pool.run()
        # As a killed pass leaves it, if the guest has written to it since and nobody knows where it was.
        os.mkdir(pool.at(".hash/tmp/worker-0"))
        name, = map(os.path.basename, pool.objects())
        tree.put(pool.at(".hash/tmp/worker-0/%s.0.0" % name), b"written")
        r = command("unshare", pool.path)
        expect(r.returncode == 1 and b"1 file of a guest" in r.stderr and b"kept-*" in r.stderr, r)
        expect_equal(summary("unshare", pool.path, status=1)["kept"], 1)
        expect_equal(summary("unshare", pool.at("a"))["kept"], 0)
        kept, = os.listdir(pool.at(".hash/tmp"))
        expect_equal(tree.slurp(pool.at(".hash/tmp/" + kept)), b"written")
        os.unlink(pool.at(".hash/tmp/" + kept))
        expect_equal(summary("unshare", pool.path)["kept"], 0)


sys.exit(cases.run(None))
