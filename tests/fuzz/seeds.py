"""Writes inputs to begin with into DIR: seeds.py NAME DIR"""
import os
import shutil
import struct
import sys

name, top = sys.argv[1:]
shutil.rmtree(top, ignore_errors=True)
os.makedirs(top)


def put(i, data):
    with open(os.path.join(top, "seed%d" % i), "wb") as f:
        f.write(data)


if name == "fuzz_name":
    put(0, b"3f2a77c0d41be8950c6b8e2f9a01d344-1a40-9be02d6a11c2f0d7-0")
    put(1, b"3f2a77c0d41be8950c6b8e2f9a01d344-1a40-9be02d6a11c2f0d7-0.3.17")
elif name == "fuzz_format":
    put(0, b"hashfs-store 1\ndigest xxh3-128\nseed 9be02d6a11c2f0d7\nidentity mode,uid,gid,mtime,xattr\n"
           b"marks trusted\ninode 10952873\n")
elif name == "fuzz_exclude":
    put(0, b"# a\n*.log\n/var/**/x/\n!keep[a-z]?\n\\!odd\na/b\n**/q\n\0var/log/keepa1/x.log")
elif name == "fuzz_listing":
    entries = b"".join(struct.pack("=QB", n, 8) + b"%b\0" % name for n, name in enumerate((b"", b"file", b"x" * 255, b"")))
    put(0, b"".join(struct.pack("=QQIB", n, n * 3, len(entries), 0) + entries for n in range(3)))
elif name == "fuzz_index":
    def patch(*patches):
        return b"".join(struct.pack("<HB", at, len(new)) + new for at, new in patches)

    page = 4096
    put(0, patch((page - 1, b"\0")))
    for n in range(1, 12):  # the first cells of each page, its header, and numbers in its middle
        put(n, patch((n * page, b"\x0d\0\0\0\xff\x0f\xff")) + patch((n * page + 8, b"\x0f\xf0" * 8)))
        put(20 + n, patch((n * page + page // 2 + n, b"\xff" * 9), ((n + 1) * page - 20, b"\x82\x80\x01")))
    put(40, patch((5 * page, b"")))
    put(41, patch((28, b"\0\0\0\2"), (36, b"\0\0\0\1")))  # its size, its free pages
elif name == "fuzz_journal":
    slot = 128 + 33 + 4096 + 3
    where = b"\n000000000000002a 17979cfe362a0000\n"
    record = b"copy-1-1" + where + b"web1/usr/bin/git\0"
    put(0, b"copy-1-1\0" + record)
    put(1, b"copy-1-1\0" + (b"copy-2-1" + where + b"web1/x\0").ljust(slot, b"o") + record)
    put(2, b"copy-1-1\0" + record[:-1])
elif name == "fuzz_mark":
    digest = b"3f2a77c0d41be8950c6b8e2f9a01d344"
    put(0, struct.pack("=Q", 7) + b"1 7 " + digest)
    put(1, struct.pack("=Q", 2**64 - 1) + b"1 %d " % (2**64 - 1) + digest)
    put(2, struct.pack("=Q", 7) + b"1 007 " + digest[:-1])
elif name == "fuzz_registry":
    put(0, b"12\n/web1\n/srv/web1\n")
    put(1, b"12\n/\n/srv/new\\nline\\\\\n")
    put(2, b"12\n/web1\n")
    put(3, b"4294967295\n/web1\n/srv/web1\n")  # -1, where it is cut to what a pid has
