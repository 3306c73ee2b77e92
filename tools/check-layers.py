#!/usr/bin/env python3
"""Holds the rules of docs/architecture.md: who may include whom, one door per library, no cycles, files of a
size that can be read. Run as a test; prints each broken rule and exits 1."""
import os
import re
import subprocess
import sys

MAY_INCLUDE = {
    "store/base": {"store/base"},
    "store": {"store", "store/base"},
    "hashify": {"hashify", "store", "store/base"},
    "fs": {"fs", "store", "store/base"},
    "tests": {"tests", "fs", "hashify", "store", "store/base"},
}

# A header of a library or of the kernel, and the only files that may include it.
DOORS = {
    r"fuse.*\.h": {"fs/fuse.h"},
    r"sqlite3\.h": {"store/database.h"},
    r"libmount\.h": {"hashify/mounts.c"},
    r"xxhash\.h": {"store/digest.c"},
    r"sys/syscall\.h": {"store/base/sys.c"},
    r"linux/(?!limits\.h|fs\.h|securebits\.h|fuse\.h|stat\.h|magic\.h|xattr\.h).*": {"store/base/sys.c"},
    r"linux/fuse\.h": {"fs/backing.c"},
    r"linux/fs\.h": {"store/base/sys.c", "store/meta.c", "fs/op_file.c"},
}

MOST_LINES = 600


def sources(root):
    for top in MAY_INCLUDE:
        if "/" in top:
            continue
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def layer_of(path):
    folder = os.path.dirname(path)
    while folder and folder not in MAY_INCLUDE:
        folder = os.path.dirname(folder)
    return folder


def check_file(root, path, graph, complain):
    with open(os.path.join(root, path), encoding="utf-8") as f:
        lines = f.read().splitlines()
    if len(lines) > MOST_LINES:
        complain(f"{path}: {len(lines)} lines; split it before {MOST_LINES}")
    graph[path] = []
    for line in lines:
        ours = re.match(r'#include "([^"]+)"', line)
        system = re.match(r"#include <([^>]+)>", line)
        if ours:
            graph[path].append(ours.group(1))
            if layer_of(ours.group(1)) not in MAY_INCLUDE[layer_of(path)]:
                complain(f"{path}: may not include {ours.group(1)}")
        elif system and layer_of(path) != "tests":
            for pattern, doors in DOORS.items():
                if re.fullmatch(pattern, system.group(1)) and path not in doors:
                    complain(f"{path}: <{system.group(1)}> only in {', '.join(sorted(doors))}")


def check_cycles(graph, complain):
    done = set()

    def visit(path, trail):
        if path in trail:
            complain("cycle: " + " -> ".join(trail[trail.index(path):] + [path]))
        elif path not in done:
            for target in graph.get(path, []):
                visit(target, trail + [path])
            done.add(path)

    for path in graph:
        visit(path, [])


def check_headers_alone(root, build, headers, complain):
    flags = subprocess.run(["pkg-config", "--cflags", "fuse3"], capture_output=True, text=True, check=False).stdout
    bundled = [f"-I{os.path.join(root, 'subprojects', d, 'include')}" for d in os.listdir(os.path.join(root, "subprojects"))
               if os.path.isdir(os.path.join(root, "subprojects", d, "include"))]
    built = os.path.join(build, "subprojects")
    configured = [f"-I{os.path.join(built, d)}" for d in (os.listdir(built) if os.path.isdir(built) else [])]
    for header in headers:
        r = subprocess.run(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-D_FILE_OFFSET_BITS=64", "-fsyntax-only", "-Wall", "-x", "c",
                            "-I", root, *bundled, *configured, *flags.split(), "-include", header, "/dev/null"],
                           cwd=root, capture_output=True, text=True, check=False)
        if r.returncode != 0:
            complain(f"{header}: does not compile alone:\n{r.stderr}")


def main():
    root = os.path.abspath(sys.argv[1])
    graph, complaints = {}, []
    for path in sources(root):
        check_file(root, path, graph, complaints.append)
    check_cycles(graph, complaints.append)
    check_headers_alone(root, os.path.abspath(sys.argv[2]), [p for p in graph if p.endswith(".h")], complaints.append)
    print("\n".join(complaints) or f"{len(graph)} files keep the rules")
    return 1 if complaints else 0


sys.exit(main())
