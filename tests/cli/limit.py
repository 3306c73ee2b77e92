"""More identical files than an inode can have names."""
import os
import sys

import cases
import tree
from cases import case, expect, expect_equal
from cli import constant, new_pool, summary

TOP, LIMIT = sys.argv[1], int(sys.argv[2])
COUNT = 70_000


def put_many(pool, guest, count):
    os.makedirs(pool.at(guest))
    for i in range(count):
        if i % 1000 == 0:
            d = os.open(pool.at(guest), os.O_RDONLY)
            os.mkdir("%d" % i, dir_fd=d)
            os.close(d)
        path = pool.at(guest, "%d/%d" % (i // 1000 * 1000, i))
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        os.write(fd, b"the same everywhere")
        os.utime(fd, ns=(tree.OLD, tree.OLD))
        os.close(fd)


def inodes(pool, guest):
    ret = {}
    for d, _, names in os.walk(pool.at(guest)):
        for n in names:
            st = os.lstat(os.path.join(d, n))
            ret[st.st_ino] = st.st_nlink
    return ret


@case("70,000 identical files are all shared, over variants, as a dry run foretells")
def _(_):
    with new_pool(TOP) as pool:
        put_many(pool, "a", COUNT)
        os.sync()
        foretold = constant(summary("--dry-run", pool.path))
        s = summary(pool.path)
        variants = -(-COUNT // (LIMIT - 1))  # the store's own name counts
        expect_equal((s["objects_created"], s["linked"]), (variants, COUNT - variants))
        expect_equal(constant(s), foretold, "a dry run foretold otherwise")
        found = inodes(pool, "a")
        expect_equal(len(found), variants, "inodes")
        expect(all(n > 1 for n in found.values()), "a file was left private")

        s = summary(pool.path)
        expect_equal((s["already_linked"], s["linked"], s["objects_created"]), (COUNT, 0, 0))

        # Names that went away make room in an old variant again.
        full = max(found, key=found.get)
        gone = 0
        for i in range(COUNT):
            path = pool.at("a", "%d/%d" % (i // 1000 * 1000, i))
            if gone < 100 and os.lstat(path).st_ino == full:
                os.unlink(path)
                gone += 1
        put_many(pool, "b", 100)
        s = summary(pool.path)
        expect_equal((s["linked"], s["objects_created"]), (100, 0))
        expect_equal(summary("stat", pool.path)["variants"], variants - 1)


sys.exit(cases.run(None))
