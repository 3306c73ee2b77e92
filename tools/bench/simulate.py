#!/usr/bin/env python3
"""What a first pass would take on a machine that is not here, all it reads being in memory: a simulation of its workers and of
the kernel's locks that they meet at. What each step costs one thread that meets nobody comes from a pass on a machine that is
there (tools/bench/README.md).

Each worker takes one file after another: CPU that nobody else is in the way of (open, lease, status, compare); then the three
calls that put a link in its place, each with the locks that it holds:
    link(object, tmp)       the directory tmp/
    rename(tmp <-> file)    the filesystem's one mutex for renames between directories, and tmp/
    unlink(tmp)             tmp/
where tmp/ is each worker's own directory, or one for all (--one-directory). Who waits, waits in line. With more workers than CPUs a CPU is waited for as well."""
import argparse
import heapq


class Line:
    """What so many can have at once, in the order they come."""

    def __init__(self, places):
        self.free = [0.0] * places  # a heap: when each place is
        self.busy = 0.0


def take_all(lines, now, seconds):
    """Waits for a place in each of @lines, and keeps them so long. Returns when that is over."""
    begin = max(now, *(line.free[0] for line in lines))
    for line in lines:
        heapq.heapreplace(line.free, begin + seconds)
        line.busy += seconds
    return begin + seconds


def steps_of(o):
    """What a file takes: who is needed, and how long."""
    us = 1e-6
    yield ["cpu"], o.work * us
    yield ["tmp", "cpu"], o.link * us
    yield ["rename", "tmp", "cpu"], o.rename * us
    yield ["tmp", "cpu"], o.unlink * us


def simulate(o, cpus, workers):
    """Seconds for o.sample files, and how long each place was in use."""
    lines = {"cpu": Line(cpus), "tmp": Line(1 if o.one_tmp else workers), "rename": Line(1)}
    steps = list(steps_of(o))
    left, end = o.sample, 0.0
    turns = [(0.0, w, len(steps)) for w in range(workers)]
    heapq.heapify(turns)
    while turns:
        now, w, step = heapq.heappop(turns)
        if step == len(steps):
            if left == 0:
                end = max(end, now)
                continue
            left -= 1
            step = 0
        needed, seconds = steps[step]
        done = take_all([lines[name] for name in needed], now, seconds)
        heapq.heappush(turns, (done, w, step + 1))
    return end, {k: line.busy / end / len(line.free) for k, line in lines.items()}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--files", type=int, default=10_000_000, help="that get linked")
    p.add_argument("--sample", type=int, default=100_000, help="so many are simulated")
    p.add_argument("--cpus", default="1,2,4,8,16,32,64")
    p.add_argument("--workers", type=int, help="default: as hashify does, twice the CPUs, from 4 to 16")
    p.add_argument("--one-directory", dest="one_tmp", action="store_true", help="all workers link in one directory")
    for name, usual, what in (("walk", 3.5, "a name in the walk, warm"), ("sort", 0.65, "a file in the one sort of all"),
                              ("work", 44.0, "a file that is linked, but for what follows"), ("link", 10.0, "link"),
                              ("rename", 15.0, "rename"), ("unlink", 11.0, "unlink")):
        p.add_argument("--" + name, type=float, default=usual, metavar="US", help="microseconds: " + what)
    o = p.parse_args()
    print("%5s %8s %8s %8s %8s %9s   %s" % ("CPUs", "workers", "walk", "sort", "link", "in all", "in use"))
    for cpus in map(int, o.cpus.split(",")):
        workers = o.workers or min(max(2 * cpus, 4), 16)
        seconds, used = simulate(o, cpus, workers)
        link = seconds * o.files / o.sample
        walk = o.files * o.walk * 1e-6 / min(cpus, workers)
        sort = o.files * o.sort * 1e-6
        shown = ["%s %.0f %%" % (k, 100 * v) for k, v in used.items()]
        print("%5d %8d %6.1f s %6.1f s %6.1f s %7.1f s   %s" % (cpus, workers, walk, sort, link, walk + sort + link, ", ".join(shown)))


if __name__ == "__main__":
    main()
