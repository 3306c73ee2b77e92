"""What hashify why says of each kind of file, and that the next pass agrees."""
import os
import subprocess
import sys

import cases
import tree
from cases import case, expect, expect_equal
from cli import command, constant, guests, new_pool, stamps, expect_same, summary

TOP = sys.argv[1]


def atimes(pool):
    return {os.path.join(d, n): os.lstat(os.path.join(d, n)).st_atime_ns
            for g in guests(pool.path) for d, _, names in os.walk(pool.at(g)) for n in names}


def why(pool, rel, *args):
    before, read = stamps(pool.path), atimes(pool)
    s = summary("why", pool.at(rel), *args)
    expect_same(before, stamps(pool.path), "changed by why")
    expect_same(read, atimes(pool), "atime moved by why")
    text = command("why", *args, pool.at(rel))
    expect(text.returncode == 0 and text.stdout, rel, text.returncode, text.stderr)
    return s


def pool_with_store(pool):
    """Without a pass over what is in it."""
    if not os.path.exists(pool.at(".hash")):
        os.mkdir(pool.at("none"))
        summary("--guest=none", pool.path)
        os.rmdir(pool.at("none"))
    return pool


@case("a link is named with its object and all its names")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared")
        pool.put("a/usr/g", b"shared")
        pool.put("b/new\nline", b"shared")
        pool.settle()
        summary(pool.path)
        w = why(pool, "b/usr/f")
        expect_equal((w["state"], w["size"]), ("link", 6))
        expect_equal(w["names"], ["a/usr/f", "a/usr/g", "b/new\nline", "b/usr/f", "c/usr/f"])
        expect(os.path.exists(pool.at(".hash/objects", w["object"][:3], w["object"])), w["object"])


@case("each rule that keeps a file private is named")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared")
        pool.put("a/usr/empty", b"")
        os.symlink("f", pool.at("a/usr/link"))
        os.mkfifo(pool.at("a/usr/fifo"))
        pool.put("a/usr/pair", b"pair")
        os.link(pool.at("a/usr/pair"), pool.at("a/usr/pair2"))
        pool.put("a/etc/conf", b"shared")
        pool.put("a/usr/still", b"still")
        pool.put("b/srv/f", b"shared")
        pool.put("b/etc/hashify.exclude", b"/srv/\n")
        pool.settle()
        summary(pool.path, defaults=True)
        subprocess.run(["chattr", "+i", pool.at("a/usr/still")], check=True)
        try:
            for rel, reason in (("a/usr/empty", "empty"), ("a/usr/link", "symlink"), ("a/usr/fifo", "special"),
                                ("a/usr/pair", "hard_linked"), ("a/etc/conf", "excluded"), ("b/srv/f", "excluded"),
                                ("a/usr/still", "flags")):
                w = why(pool, rel)
                expect_equal((w["state"], w.get("reason")), ("left_alone", reason), rel)
        finally:
            subprocess.run(["chattr", "-i", pool.at("a/usr/still")], check=True)
        expect_equal(why(pool, "a/etc/conf", "--no-default-excludes")["state"], "shared_by_next_pass")


@case("a file that somebody has open for writing is in use")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared")
        pool.settle()
        with open(pool.at("a/usr/f"), "r+b"):
            w = why(pool_with_store(pool), "a/usr/f")
            expect_equal((w["state"], w.get("reason")), ("left_alone", "in_use"))
            expect_equal(summary("-n", pool.path)["skipped"]["in_use"], 1)
            expect(command("why", pool.at("a/usr/f")).stdout.endswith(b"left alone: open for writing or mapped writable\n"),
                   "said otherwise")
        expect_equal(why(pool, "a/usr/f")["state"], "shared_by_next_pass")


@case("a guest whose list of patterns is broken is left alone as a whole, which is said")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared")
        pool.put("a/etc/hashify.exclude", b"a//b\n")
        pool.settle()
        w = why(pool_with_store(pool), "a/usr/f")
        expect_equal((w["state"], w.get("reason")), ("left_alone", "policy"))
        expect_equal(summary("-n", pool.path, status=1)["skipped"]["policy"], 1)


@case("the broken list of a guest is named, with its line and what was expected, as a pass does")
def _(_):
    for root in ("a", "a/rootfs"):
        with new_pool(TOP) as pool:
            pool.put("b/usr/f", b"shared")
            pool.put(root + "/usr/f", b"shared")
            for text, said in ((b"ok\na//b\n", ":2: is no pattern; expected one a line"),
                               (b"#" * 20_000, ": is no list of patterns; expected a regular file")):
                pool.put(root + "/etc/hashify.exclude", text)
                pool.settle()
                r = command("why", pool_with_store(pool).at(root + "/usr/f"))
                said = root + "/etc/hashify.exclude" + said
                expect(r.returncode == 0 and said in r.stdout.decode(), said, "not in", r.stdout)
                expect(said in command("-n", pool.path).stderr.decode(), said, "not said by a pass")
                os.unlink(pool.at(root, "etc/hashify.exclude"))


@case("what lies below a mount in a guest, or is one, is left alone, which is said")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared", guests="ab")
        pool.settle()
        pool_with_store(pool)
        os.mkdir(pool.at("a/mnt"))
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", pool.at("a/mnt")], check=True)
        try:
            pool.put("a/mnt/d/f", b"shared")
            for rel in ("a/mnt/d/f", "a/mnt/d", "a/mnt", "a/mnt/"):
                w = why(pool, rel)
                expect_equal((w["state"], w.get("reason")), ("left_alone", "mount"), rel)
                expect(b"something is mounted there" in command("why", pool.at(rel)).stdout, rel)
        finally:
            subprocess.run(["umount", pool.at("a/mnt")], check=True)


@case("a slash at the end of a path is for directories alone")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared")
        pool.settle()
        pool_with_store(pool)
        for rel in ("a", "a/usr"):
            plain, slash = why(pool, rel), why(pool, rel + "/")
            del plain["path"], slash["path"]
            expect_equal((plain, plain["state"]), (slash, "directory"), rel)
        for command_ in ("why", "unshare"):
            for rel in ("a/usr/f/", "a/usr/f/g"):
                r = command(command_, pool.at(rel))
                expect(r.returncode == 2 and b"no directory; expected" in r.stderr, rel, r.returncode, r.stderr)


@case("what is in an immutable directory becomes an object, but no link")
def _(_):
    for frozen, shared in (0, True), (1, False), (2, False):  # in the order of the disk, where the first becomes the object
        with new_pool(TOP) as pool:
            pool.put_all("d/f", b"shared", guests="abc"[:2 + (frozen == 2)])
            pool.settle()
            guest = sorted("abc"[:2 + (frozen == 2)], key=lambda g: pool.inode(g + "/d/f"))
            pool_with_store(pool)
            if frozen == 2:
                summary("--guest=" + guest[0], "--guest=" + guest[1], pool.path)
            subprocess.run(["chattr", "+i", pool.at(guest[frozen] + "/d")], check=True)
            try:
                w = why(pool, guest[frozen] + "/d/f")
                expect_equal((w["state"], w.get("reason")), ("shared_by_next_pass", None) if shared else ("left_alone", "flags"))
                if frozen < 2:
                    other = why(pool, guest[1 - frozen] + "/d/f")["state"]
                    expect_equal(other, "shared_by_next_pass" if shared else "alone")
                s = summary("-n", pool.path)
                expect_equal((s["linked"], s["skipped"]["flags"]), (shared, not shared))
                expect_equal(constant(summary(pool.path)), constant(s))
            finally:
                subprocess.run(["chattr", "-i", pool.at(guest[frozen] + "/d")], check=True)


@case("an equal file that a pass leaves alone is none to share with")
def _(_):
    with new_pool(TOP) as pool:
        pool.put("a/usr/f", b"shared")
        pool.put("b/etc/f", b"shared")
        pool.put("c/srv/f", b"shared")
        pool.put("c/etc/hashify.exclude", b"/srv/\n")
        pool.settle()
        expect_equal(why(pool_with_store(pool), "a/usr/f")["state"], "alone")
        expect_equal(summary("-n", pool.path, defaults=True)["linked"], 0)
        w = why(pool, "a/usr/f", "--no-default-excludes")
        expect_equal((w["state"], w["names"]), ("shared_by_next_pass", ["b/etc/f"]))
        expect_equal(summary("-n", pool.path)["linked"], 1)


@case("an equal file that is mounted by itself is none to share with")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared", guests="ab")
        pool.settle()
        tree.put(TOP + "/target", b"")
        subprocess.run(["mount", "--bind", pool.at("b/usr/f"), TOP + "/target"], check=True)
        try:
            expect_equal(why(pool_with_store(pool), "a/usr/f")["state"], "alone")
            expect_equal(summary("-n", pool.path)["linked"], 0)
        finally:
            subprocess.run(["umount", TOP + "/target"], check=True)
            os.unlink(TOP + "/target")
        expect_equal(why(pool, "a/usr/f")["state"], "shared_by_next_pass")


@case("an object that differs does not hide a file that does not")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared", guests="ab")
        pool.settle()
        summary(pool.path)
        pool.put("c/usr/one", b"shared", mtime=tree.OLD + 9)
        pool.put("c/usr/two", b"shared", mtime=tree.OLD + 9)
        pool.settle()
        w = why(pool, "c/usr/one")
        expect_equal((w["state"], w["names"]), ("shared_by_next_pass", ["c/usr/two"]))
        expect_equal(summary(pool.path)["linked"], 1)


@case("no --ignore is named for what gives rights")
def _(_):
    with new_pool(TOP) as pool:
        for name, one, other, differs, ignorable in (
                ("suid", {"mode": 0o755}, {"mode": 0o4755}, ["mode"], False),
                ("owner", {"mode": 0o4755}, {"mode": 0o4755, "uid": 5}, ["owner"], False),
                ("time", {"mode": 0o4755}, {"mode": 0o4755, "mtime": tree.OLD + 9}, ["mtime"], True),
                ("cap", {}, {"xattrs": {"security.capability": tree.CAP_NET_RAW}}, ["xattr"], False)):
            pool.put("a/usr/" + name, name.encode() * 10, **one)
            pool.put("b/usr/" + name, name.encode() * 10, **other)
            pool.settle()
            for guest in "ab":
                w = why(pool_with_store(pool), guest + "/usr/" + name)
                expect_equal((w["state"], w["differs"], w["ignorable"]), ("different", differs, ignorable), name)
                said = command("why", pool.at(guest, "usr", name)).stdout
                expect_equal(b"(--ignore=" in said, ignorable, said)
        expect_equal(summary("-n", "--ignore=mtime,owner,mode,xattr", pool.path)["linked"], 1)


@case("what the next pass shares, and what it differs in if it does not")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared", guests="ab")
        pool.settle()
        summary(pool.path)
        pool.put("c/usr/f", b"shared")
        pool.put("c/usr/alone", b"nothing like it")
        pool.put("c/usr/twin", b"two of these")
        pool.put("b/usr/twin", b"two of these")
        pool.put("c/usr/newer", b"shared", mtime=tree.OLD + 9)
        pool.put("c/usr/mode", b"two of these", mode=0o600, uid=5)
        pool.put("c/usr/xattr", b"two of these", xattrs={"user.a": b"1"})
        pool.settle()
        w = why(pool, "c/usr/f")
        expect_equal((w["state"], w["names"]), ("shared_by_next_pass", ["a/usr/f", "b/usr/f"]))
        w = why(pool, "c/usr/twin")
        expect_equal((w["state"], w["names"]), ("shared_by_next_pass", ["b/usr/twin"]))
        expect_equal(why(pool, "c/usr/alone")["state"], "alone")
        for rel, differs in (("c/usr/newer", ["mtime"]), ("c/usr/mode", ["owner", "mode"]), ("c/usr/xattr", ["xattr"])):
            w = why(pool, rel)
            expect_equal((w["state"], w["differs"]), ("different", differs), rel)
        s = summary("--ignore=mtime", pool.path)
        pool.expect_linked("a/usr/f", "c/usr/f", "c/usr/newer")
        expect_equal(s["linked"], 3)


@case("it judges by the options that passes get")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f.dat", b"shared", guests="ab")
        pool.put("a/usr/older", b"shared but for its time")
        pool.put("b/usr/newer", b"shared but for its time", mtime=tree.OLD + 9)
        pool.settle()
        tree.put(TOP + "/patterns", b"/usr/\n")
        pool_with_store(pool)
        for options, reason in (["--exclude=*.dat"], "excluded"), (["--exclude-from=" + TOP + "/patterns"], "excluded"), \
                (["--min-size=7"], "small"):
            w = why(pool, "a/usr/f.dat", *options)
            expect_equal((w["state"], w.get("reason")), ("left_alone", reason), options)
            expect_equal(summary("-n", *options, pool.path)["skipped"][reason], 2)
        os.unlink(TOP + "/patterns")
        expect_equal(why(pool, "a/usr/f.dat", "--exclude=*.txt", "--min-size=6")["state"], "shared_by_next_pass")
        expect_equal(why(pool, "a/usr/older")["state"], "different")
        expect_equal(why(pool, "a/usr/older", "--ignore=owner,mode")["differs"], ["mtime"])
        expect_equal(why(pool, "a/usr/older", "--ignore=mtime")["state"], "shared_by_next_pass")
        for options in (["--exclude=a//b"], ["--min-size=x"], ["--ignore=size"], ["--exclude-from=" + TOP + "/none"]):
            r = command("why", *options, pool.at("a/usr/older"))
            expect(r.returncode == 2 and r.stderr, options, r.returncode, r.stderr)


@case("an object that was changed natively has not the content that its name says, and is damaged if that can be seen")
def _(_):
    with new_pool(TOP) as pool:
        for name in ("same", "longer", "unmarked"):
            pool.put_all("usr/" + name, name.encode() * 10)
        pool.settle()
        summary(pool.path)
        mark = "trusted.hashfs.object"
        os.setxattr(pool.at("b/usr/unmarked"), mark, os.getxattr(pool.at("b/usr/same"), mark))
        for name, how in (("same", "r+b"), ("longer", "ab")):
            with open(pool.at("b/usr", name), how) as f:
                f.write(b"X")
            pool.put("c/usr/copy." + name, name.encode() * 10, mtime=tree.OLD + 9)
            expect_equal(why(pool, "c/usr/copy." + name)["state"], "alone", name)
        for name, damaged in (("same", False), ("longer", True), ("unmarked", True)):
            w = why(pool, "a/usr/" + name)
            expect_equal((w["state"], w["damaged"]), ("link", damaged), name)
        expect(b"damaged (hashify verify)" in command("why", pool.at("a/usr/longer")).stdout, "not said")


@case("a copy of a link is told from a link")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared")
        pool.settle()
        summary(pool.path)
        subprocess.run(["cp", "-a", pool.at("a/usr/f"), pool.at("a/usr/copy")], check=True)
        w = why(pool, "a/usr/copy")
        expect_equal((w["state"], w["copied_mark"]), ("shared_by_next_pass", True))


@case("names of an object in a guest that was moved away are told of, by stat too; unshare before that leaves none")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared", guests="abcd")
        pool.settle()
        summary(pool.path)
        expect_equal((why(pool, "a/usr/f")["elsewhere"], summary("stat", pool.path)["elsewhere"]), (0, 0))
        away = TOP + "/away"
        os.rename(pool.at("c"), away)
        try:
            s = summary("stat", pool.path)
            expect_equal((why(pool, "a/usr/f")["elsewhere"], s["elsewhere"], s["links"]), (1, 1, 3))
            expect(b"elsewhere" in command("stat", pool.path).stdout and b"elsewhere" in command("why", pool.at("a/usr/f")).stdout,
                   "not said")
            for g in "abd":
                os.unlink(pool.at(g, "usr/f"))
            s = summary("stat", pool.path)
            expect_equal((s["elsewhere"], s["unused"], s["disk_saved"], s["ram_saved"]), (1, 0, 0, 0))
        finally:
            os.rename(away, pool.at("c"))
        summary("unshare", pool.at("c"))
        os.rename(pool.at("c"), away)
        try:
            s = summary("stat", pool.path)
            expect_equal((s["elsewhere"], s["unused"]), (0, 1))
        finally:
            os.rename(away, pool.at("c"))


@case("a mount in a guest is no error, and no name is said to be elsewhere for it")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared")
        pool.put("c/run/f", b"shared")
        pool.settle()
        summary(pool.path)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", pool.at("c/run")], check=True)
        try:
            w, s = why(pool, "a/usr/f"), summary("stat", pool.path)
            expect_equal((w["errors"], w["elsewhere"], s["errors"], s["elsewhere"], len(w["names"])), (0, 0, 0, 0, 3))
        finally:
            subprocess.run(["umount", pool.at("c/run")], check=True)
        expect_equal(len(why(pool, "a/usr/f")["names"]), 4)


@case("what guests have in common by hard links of their own is called that")
def _(_):
    with new_pool(TOP) as pool:
        pool.put("a/usr/f", b"shared")
        os.makedirs(pool.at("b/usr"))
        os.link(pool.at("a/usr/f"), pool.at("b/usr/f"))
        pool.settle()
        summary(pool.path)
        expect_equal(why(pool, "a/usr/f")["reason"], "hard_linked")
        expect(b"that guests have in common" in command("why", pool.at("a/usr/f")).stdout, "called private")


@case("a directory is summed up, and other paths are refused")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("usr/f", b"shared")
        pool.put("a/usr/sub/g", b"own file")
        pool.settle()
        summary(pool.path)
        w = why(pool, "a/usr")
        expect_equal((w["state"], w["links"], w["link_bytes"], w["private"], w["private_bytes"]), ("directory", 1, 6, 1, 8))
        for path in (pool.path, pool.at(".hash/format"), pool.at("a/none"), "/etc/passwd"):
            r = command("why", path)
            expect(r.returncode == 2 and path.encode() in r.stderr, path, r.returncode, r.stderr)


sys.exit(cases.run(None))
