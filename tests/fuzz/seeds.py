"""Writes inputs to begin with into DIR: seeds.py NAME DIR"""
import os
import shutil
import sqlite3
import struct
import sys

name, top = sys.argv[1:]
shutil.rmtree(top, ignore_errors=True)
os.makedirs(top)


def put(i, data):
    with open(os.path.join(top, "seed%d" % i), "wb") as f:
        f.write(data)


def index(i, rows):
    path = os.path.join(top, "seed%d" % i)
    db = sqlite3.connect(path)
    db.executescript("""PRAGMA page_size = 512; PRAGMA user_version = 2;
CREATE TABLE files (ino INTEGER PRIMARY KEY, stamp INTEGER, high INTEGER, low INTEGER, identity INTEGER);
CREATE TABLE listings (guest BLOB UNIQUE, data BLOB);
CREATE TABLE owner (seed INTEGER, ino INTEGER, uuid TEXT, ignored INTEGER);
CREATE TABLE passes (started INTEGER, seconds REAL, guests INTEGER, seen INTEGER, linked INTEGER, objects INTEGER, freed INTEGER, errors INTEGER, signal INTEGER);""")
    for n in range(rows):
        db.execute("INSERT INTO files VALUES (?, 1, 2, 3, 4)", (n,))
    db.execute("INSERT INTO listings VALUES (?, ?)", (b"guest", bytes(rows * 30)))
    db.execute("INSERT INTO owner VALUES (1, 2, '', 0)")
    db.execute("INSERT INTO passes VALUES (1, 2.5, 3, 4, 5, 6, 7, 8, 9)")
    db.commit()
    db.close()


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
    for i, rows in enumerate((0, 1, 40)):
        index(i, rows)
