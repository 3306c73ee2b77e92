"""Files with timestamps of whole seconds."""
import os
import sys
import time

import cases
import tree
from cases import case, expect_equal
from cli import new_pool, summary

TOP = sys.argv[1]
SECOND = 1_000_000_000


@case("a file whose second is not over is left for the next pass")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content", mtime=(int(time.time()) + 60) * SECOND)
        expect_equal(os.lstat(pool.at("b/f")).st_ctime_ns % SECOND, 0, "fraction of a ctime")
        s = pool.run()
        expect_equal((s["linked"], s["skipped"]["changed"], s["errors"]), (0, 3, 0))
        pool.expect_private("a/f", "b/f", "c/f")
        for g in "abc":
            os.utime(pool.at(g + "/f"), ns=(tree.OLD, tree.OLD))
        expect_equal(pool.run()["linked"], 2)


@case("a file from a clock that is days ahead is shared like any other")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content", mtime=(int(time.time()) + 10 * 86400) * SECOND)
        s = pool.run()
        expect_equal((s["linked"], s["skipped"]["changed"]), (2, 0))
        pool.expect_linked("a/f", "b/f", "c/f")


@case("older files are shared as everywhere")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content")
        expect_equal(pool.run()["linked"], 2)
        pool.expect_linked("a/f", "b/f", "c/f")


sys.exit(cases.run(None))
