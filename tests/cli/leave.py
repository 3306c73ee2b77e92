"""What must never be shared, touched or followed."""
import json
import os
import socket
import stat
import subprocess
import sys

import cases
import tree
from cases import case, expect, expect_equal
from cli import command, constant, expect_same, full_inventory, new_pool, summary

TOP = sys.argv[1]
KIND = sys.argv[2] if len(sys.argv) > 2 else subprocess.run(
    ["stat", "-f", "-c", "%T", TOP], capture_output=True, text=True).stdout.strip()


def expect_none_linked(pool, **reasons):
    s = pool.run()
    expect_equal((s["objects_created"], s["linked"], s["bytes_freed"]), (0, 0, 0))
    for reason, count in reasons.items():
        expect_equal(s["skipped"][reason], count, reason)


def differ(name, one, other):
    @case("files that differ in " + name + " are not shared")
    def _(_):
        with new_pool(TOP) as pool:
            pool.put("a/f", b"content", **one)
            pool.put("b/f", b"content", **other)
            expect_none_linked(pool, alone=2)
            pool.expect_private("a/f", "b/f")


differ("mtime by a nanosecond", dict(mtime=tree.OLD), dict(mtime=tree.OLD + 1))
differ("mode", dict(mode=0o644), dict(mode=0o640))
differ("set-uid", dict(mode=0o755), dict(mode=0o4755))
differ("owner", dict(uid=0), dict(uid=1))
differ("group", dict(gid=0), dict(gid=1))
differ("an xattr", dict(xattrs={"user.a": b"1"}), dict())
differ("an xattr's value", dict(xattrs={"user.a": b"1"}), dict(xattrs={"user.a": b"2"}))
differ("a trusted xattr", dict(xattrs={"trusted.a": b"1"}), dict())
differ("capabilities", dict(mode=0o755, xattrs={"security.capability": tree.CAP_NET_RAW}), dict(mode=0o755))
differ("an ACL", dict(mode=0o644, xattrs={"system.posix_acl_access": tree.acl(
    (tree.USER_OBJ, 6, 0), (tree.USER, 4, 1), (tree.GROUP_OBJ, 4, 0), (tree.MASK, 4, 0), (tree.OTHER, 4, 0))}),
    dict(mode=0o644, xattrs={"system.posix_acl_access": tree.acl(
        (tree.USER_OBJ, 6, 0), (tree.USER, 4, 2), (tree.GROUP_OBJ, 4, 0), (tree.MASK, 4, 0), (tree.OTHER, 4, 0))}))


@case("files that differ in content by one byte at the end are not shared")
def _(_):
    with new_pool(TOP) as pool:
        content = tree.noise(1, 300_000)
        pool.put("a/f", content)
        pool.put("b/f", content[:-1] + bytes([content[-1] ^ 1]))
        expect_none_linked(pool, alone=2)


@case("empty files are not shared")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"")
        expect_none_linked(pool, empty=3)
        pool.expect_private("a/f", "b/f", "c/f")


@case("what a guest has hard-linked keeps exactly its names")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content")
        for g in "abc":
            os.link(pool.at(g, "f"), pool.at(g, "g"))
        expect_none_linked(pool, hard_linked=6)
        for g in "abc":
            expect_equal(pool.inode(g + "/f"), pool.inode(g + "/g"))


@case("symbolic links, FIFOs, sockets and devices are neither opened nor followed")
def _(_):
    with new_pool(TOP) as pool:
        pool.put("a/f", b"content")
        tree.put(os.path.join(TOP, "outside/f"), b"content")
        try:
            for g in "ab":
                os.makedirs(pool.at(g), exist_ok=True)
                os.symlink(os.path.join(TOP, "outside"), pool.at(g, "dir"))
                os.symlink(os.path.join(TOP, "outside/f"), pool.at(g, "file"))
                os.mkfifo(pool.at(g, "fifo"))
                os.mknod(pool.at(g, "null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
                os.mknod(pool.at(g, "disk"), stat.S_IFBLK | 0o600, os.makedev(7, 99))
                with socket.socket(socket.AF_UNIX) as s:
                    d = os.open(pool.at(g), os.O_RDONLY)
                    s.bind("/proc/self/fd/%d/socket" % d)
                    os.close(d)
            expect_none_linked(pool, symlink=4, special=8, alone=1)
        finally:
            subprocess.run(["rm", "-rf", os.path.join(TOP, "outside")], check=True)


@case("a symbolic link to a directory is no guest, nor is a file, nor lost+found")
def _(_):
    with new_pool(TOP) as pool:
        pool.put("a/f", b"content")
        pool.put("f", b"content")
        pool.put("lost+found/f", b"content")
        pool.put(".hash.new-1/f", b"content")
        os.symlink("a", pool.at("b"))
        s = pool.dry_run()
        expect_equal((s["guests"], s["seen"]), (1, 1))


@case("immutable and append-only files are left alone")
def _(_):
    if KIND == "tmpfs":
        return
    with new_pool(TOP) as pool:
        for i, flag in enumerate(("+i", "+a")):
            pool.put_all("f%d" % i, b"content%d" % i, guests="ab")
            subprocess.run(["chattr", flag, pool.at("a/f%d" % i)], check=True)
        expect_none_linked(pool, flags=2, alone=2)


@case("what is in an immutable or append-only directory stays there; it is counted, and all else is shared")
def _(_):
    if KIND == "tmpfs":
        raise cases.NotHere("tmpfs has no such flags")
    for flag in ("i", "a"):
        with new_pool(TOP) as pool:
            pool.put_all("d/f", b"content")
            pool.put_all("e/f", b"another")
            pool.settle()
            # The first on the disk becomes the object, which takes nothing of its directory.
            last = max("abc", key=lambda g: pool.inode(g + "/d/f"))
            subprocess.run(["chattr", "+" + flag, pool.at(last + "/d")], check=True)
            before = full_inventory(pool.path)
            foretold = pool.dry_run()
            r = command("--json", "-v", pool.path)
            said, s = r.stderr.decode(), json.loads(r.stdout)
            expect_same(constant(foretold), constant(s), "a dry run foretold otherwise")
            expect_equal((r.returncode, s["objects_created"], s["linked"], s["skipped"]["flags"], s["errors"]), (0, 2, 3, 1, 0), said)
            expect(last + "/d/f: immutable" in said, "not named in", said)
            expect_same(before, full_inventory(pool.path), "changed by a pass")
            pool.expect_private(last + "/d/f")
            subprocess.run(["chattr", "-" + flag, pool.at(last + "/d")], check=True)
            expect_equal(pool.run()["linked"], 1)
            expect_equal(os.listdir(pool.at(".hash/tmp")), [], "left in tmp/")


@case("what is mounted in a guest is not entered, nor a mounted file opened")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content", guests="abc")
        pool.put("a/covered", b"content")
        os.mkdir(pool.at("a/mnt"))
        mounts = [["-t", "tmpfs", "tmpfs", pool.at("a/mnt")], ["--bind", pool.at("b/f"), pool.at("a/covered")]]
        done = []
        try:
            for m in mounts:
                subprocess.run(["mount", *m], check=True)
                done.append(m[-1])
            tree.put(pool.at("a/mnt/f"), b"content")
            s = summary(pool.path)
        finally:
            for m in done:
                subprocess.run(["umount", m], check=True)
        expect_equal((s["linked"], s["skipped"]["mount"], s["seen"]), (1, 3, 5))
        pool.expect_linked("a/f", "c/f")
        pool.expect_private("a/covered", "b/f")


class Container:
    """A process in a mount namespace of its own, where @script has run."""

    def __init__(self, script):
        self.process = subprocess.Popen(["unshare", "-m", "sh", "-ec", script + "\necho ready\nread -r end"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        expect_equal(self.process.stdout.readline(), "ready\n", "the container has not started")
        return self

    def run(self, script):
        return subprocess.run(["nsenter", "-m", "-t", str(self.process.pid), "sh", "-c", script],
                              capture_output=True, text=True, check=True).stdout

    def __exit__(self, *_):
        self.process.communicate("end\n")


@case("single files that are mounted in a container's own namespace, or over which something is, keep their mounts")
def _(_):
    with new_pool(TOP) as pool:
        for name in ("over it", "from it", "f"):
            pool.put_all(name, name.encode())
        outside = os.path.join(TOP, "outside")
        os.makedirs(os.path.join(outside, "root"))
        tree.put(outside + "/other", b"of the container")
        tree.put(outside + "/target", b"")
        pool.settle()
        # Guest b runs by a bind mount of its root, as containers do.
        script = """cd '%s'; mount --bind other '%s'; mount --bind '%s' target
                    mount --bind '%s' root; mount --bind other 'root/over it'""" % (
            outside, pool.at("a/over it"), pool.at("a/from it"), pool.at("b"))
        try:
            with Container(script) as c:
                s = pool.run()
                expect_equal((s["skipped"]["mount"], s["linked"]), (3, 3))
                for path in (pool.at("a/over it"), outside + "/root/over it"):
                    expect_equal(c.run("cat '%s'" % path), "of the container", path)
                c.run("echo more >>'%s/target'" % outside)
                pool.expect_private("a/over it", "b/over it", "c/over it", "a/from it")
                pool.expect_linked("b/from it", "c/from it")
                pool.expect_linked("a/f", "b/f", "c/f")
                r = command("why", pool.at("a/from it"))
                expect("mounted" in r.stdout.decode(), r.stdout)
        finally:
            subprocess.run(["rm", "-rf", outside], check=True)
        with open(pool.at("a/from it")) as f:
            expect_equal(f.read(), "from itmore\n")
        expect_equal(pool.run()["skipped"]["mount"], 0)


@case("a bind mount of the guest in itself is walked once")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("d/f", b"content", guests="ab")
        os.mkdir(pool.at("a/loop"))
        subprocess.run(["mount", "--bind", pool.at("a"), pool.at("a/loop")], check=True)
        try:
            s = summary(pool.path)
        finally:
            subprocess.run(["umount", pool.at("a/loop")], check=True)
        expect_equal((s["linked"], s["objects_created"], s["skipped"]["mount"], s["seen"]), (1, 1, 1, 3))


@case("files of another subvolume are skipped, whatever their inode numbers")
def _(_):
    if KIND != "btrfs":
        return
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content", guests="ab")
        subprocess.run(["btrfs", "-q", "subvolume", "create", pool.at("c")], check=True)
        try:
            # The subvolume counts inodes from the start again: some of them are an object's elsewhere.
            for i in range(300):
                pool.put("c/f%d" % i, b"content")
            pool.run()
            s = pool.run()
            expect_equal((s["already_linked"], s["skipped"]["subvolume"]), (2, 300))
        finally:
            subprocess.run(["btrfs", "-q", "subvolume", "delete", pool.at("c")], check=True)


@case("a guest's own .hash is a directory like any other")
def _(_):
    with new_pool(TOP) as pool:
        pool.put("b/usr/f", b"b's")
        pool.run()
        pool.put_all(".hash/objects/000/f", b"content", guests="ab")
        pool.put("a/.hash/format", b"nonsense")
        pool.run()
        pool.expect_linked("a/.hash/objects/000/f", "b/.hash/objects/000/f")


@case("a copy of a link with its mark is a file like any other")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content", guests="ab")
        pool.run()
        subprocess.run(["cp", "-a", pool.at("a/f"), pool.at("a/copy")], check=True)
        expect(os.listxattr(pool.at("a/copy")), "cp -a copied no mark")
        os.mkdir(pool.at("c"))
        os.rename(pool.at("a/copy"), pool.at("c/copy"))
        os.link(pool.at("c/copy"), pool.at("c/copy2"))
        s = pool.run()
        expect_equal((s["linked"], s["skipped"]["hard_linked"]), (0, 2))
        os.unlink(pool.at("c/copy2"))
        s = pool.run()
        expect_equal((s["linked"], s["objects_created"]), (1, 0))
        pool.expect_linked("a/f", "b/f", "c/copy")


@case("a mark planted by a guest fools nobody")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content", guests="ab")
        pool.run()
        for space in ("user", "trusted"):
            for name in os.listxattr(pool.at("a/f")):
                value = os.getxattr(pool.at("a/f"), name)
                path = pool.put("a/planted-" + space, b"private")
                if os.path.exists(pool.at("a/pair-" + space)):
                    continue
                os.link(path, pool.at("a/pair-" + space))
                try:
                    os.setxattr(path, space + ".hashfs.object", value)
                except OSError:  # tmpfs without user. xattrs
                    continue
        s = pool.run()
        expect_equal((s["skipped"]["hard_linked"], s["linked"]), (4, 0))


@case("a guest with no name but a newline, and one with invalid UTF-8")
def _(_):
    with new_pool(TOP) as pool:
        for g in (b"\n", b"\xff\xfe", b"a b", b"-n"):
            tree.put(os.fsencode(pool.path) + b"/" + g + b"/f", b"content")
        s = summary(pool.path)
        expect_equal((s["guests"], s["objects_created"], s["linked"]), (4, 1, 3))


@case("files of more than 1 MiB that are nearly all holes are not shared")
def _(_):
    with new_pool(TOP) as pool:
        for size in ((1 << 20) + 1, 64 << 20):
            for g in "ab":
                pool.put("%s/f%d" % (g, size), [(size // 2, b"x" * (size // 40)), (size, b"")], holes=True)
        expect_none_linked(pool, holes=4)


def large_xattrs(count):
    return {"trusted.%d" % i: b"%d" % i * 7000 for i in range(10, 10 + count)}


@case("files with more than 256 KiB of xattrs are left alone; an object that gets them is none, and is copied whole")
def _(_):
    with new_pool(TOP) as pool:
        try:
            pool.put("a/large", b"large", xattrs=large_xattrs(20))
        except OSError as e:
            raise cases.NotHere(e)
        pool.put("b/large", b"large", xattrs=large_xattrs(20))
        pool.put_all("f", b"content", guests="ab", xattrs=large_xattrs(18))
        s = pool.run()
        expect_equal((s["linked"], s["skipped"]["large_xattrs"], s["errors"]), (1, 2, 0))
        pool.expect_private("a/large", "b/large")
        why = json.loads(command("why", "--json", pool.at("a/large")).stdout)
        expect_equal((why["state"], why["reason"]), ("left_alone", "large_xattrs"))

        for name, value in large_xattrs(60).items():
            os.setxattr(pool.at("a/f"), name, value)
        pool.put("c/f", b"content", xattrs=large_xattrs(18))
        s = summary(pool.path, status=1)
        expect_equal((s["linked"], s["bad_objects"], s["errors"]), (0, 1, 1))
        expect_equal(command("unshare", pool.at("a")).returncode, 0)
        pool.expect_private("a/f", "c/f")
        expect_equal({n: os.getxattr(pool.at("a/f"), n) for n in os.listxattr(pool.at("a/f"))}, large_xattrs(60))
        checked = summary("verify", pool.path, status=1)
        expect_equal([f["damage"] for f in checked["findings"]], [["metadata"]])


sys.exit(cases.run(None))
