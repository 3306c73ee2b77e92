"""How far a pass is, to people and programs, and how it is slowed down."""
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time

import cases
import tree
from cases import case, expect, expect_equal
from cli import HASHIFY, command, new_pool, summary

TOP = sys.argv[1]
FILES, SIZE, GUESTS = 60, 20_000, "abc"
BYTES = FILES * SIZE * len(GUESTS)
SLOW = "--io-limit=%d" % (BYTES // 2)  # two seconds


def fill(pool, guests=GUESTS):
    for i in range(FILES):
        for g in guests:
            tree.put(os.path.join(pool.path, g, "f%d" % i), tree.noise(i, SIZE))


class Terminal:
    """A pass whose stderr is a terminal, and its stdout a pipe."""

    def __init__(self, *args, width=100, term="xterm"):
        self.fd, slave = pty.openpty()
        self.resize(width)
        self.process = subprocess.Popen([HASHIFY, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave,
                                        env=dict(os.environ, TERM=term), start_new_session=True)
        os.close(slave)
        self.text = b""

    def resize(self, width):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 25, width, 0, 0))

    def read_until(self, pattern):
        """Reads what is drawn until it matches, or to the end."""
        while not re.search(pattern, self.text):
            try:
                more = os.read(self.fd, 65536)
            except OSError:  # EIO: the program has ended
                return False
            if not more:
                return False
            self.text += more
        return True

    def finish(self):
        self.read_until(rb"no match$^")
        out = self.process.stdout.read()
        os.close(self.fd)
        return self.process.wait(), out

    def bars(self):
        """Each text that was drawn over the one before."""
        return [t.decode() for t in re.findall(rb"\r([^\r\n\x1b]+)\x1b\[K", self.text)]

    def screen(self):
        """What a terminal shows in the end."""
        lines, line, column = [], [], 0
        for token in re.findall(rb"\x1b\[K|.", self.text, re.S):
            if token == b"\r":
                column = 0
            elif token == b"\n":
                lines.append(b"".join(line))
                line, column = [], 0
            elif token == b"\x1b[K":
                del line[column:]
            else:
                expect(token[0] >= 0x20, "a control character:", token)
                line[column:column + 1] = [token]
                column += 1
        return [t.decode() for t in lines + [b"".join(line)]]


def expect_summary(status, out, what=0):
    expect_equal(status, what, "status")
    return json.loads(out)


@case("a terminal gets a bar that fits, and is empty afterwards; stdout has the summary alone")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        t = Terminal("--json", SLOW, pool.path, width=80)
        expect(t.read_until(rb"\r *[1-9][0-9]%"), "no bar:", t.text)
        t.resize(40)
        seen = len(t.text)
        s = expect_summary(*t.finish())
        expect_equal(s["linked"] + s["objects_created"], FILES * len(GUESTS))
        bars = t.bars()
        reading = [b for b in bars if "%" in b]
        expect(len(reading) >= 4, "only", len(reading), "bars in two seconds")
        expect(all(len(b) < 80 for b in bars), "too wide:", bars)
        narrow = Terminal.bars(type("Rest", (), {"text": t.text[seen + 200:]}))
        expect(narrow and all(len(b) < 40 for b in narrow), "too wide after the terminal got narrower:", narrow)
        wide = [b for b in reading if re.fullmatch(
            r" *\d+% \[#*-*\] [\d.]+[BKM]/3\.4M( \d+/180 files)? [\d.]+[BKM]/s ETA \d+:\d\d freed [\d.]+[BKM] [abc]", b)]
        expect(wide, "no whole bar in", reading)
        percent = [int(b.split("%")[0]) for b in reading]
        expect(percent == sorted(percent), "goes backwards:", percent)
        expect_equal(t.screen(), [""], "left on the screen")


@case("lines of -v go around the bar")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        t = Terminal("-v", SLOW, pool.path)
        status, _ = t.finish()
        expect_equal(status, 0)
        expect(len(t.bars()) >= 4, "no bars")
        lines = t.screen()
        expect_equal(lines.pop(), "", "the last line")
        expect_equal(len(lines), FILES * len(GUESTS), "lines")
        for line in lines:
            expect(re.fullmatch(r"hashify: [abc]/f\d+: (linked|is an object now)", line), "broken:", line)


@case("a guest's name cannot steer the terminal")
def _(_):
    with new_pool(TOP) as pool:
        name = "x\033[2J\n\udcff"
        fill(pool, [name, name + "2"])
        t = Terminal("--json", SLOW, pool.path, width=200)
        expect_summary(*t.finish())
        expect(any(" x\\x1b[2J\\x0a\\xff" in b for b in t.bars()), "never named:", t.bars())
        t.screen()


def pipe(*args):
    return command("--json", *args)


@case("where no terminal is, a short pass shows nothing unless asked to")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        r = pipe(SLOW, pool.path)
        expect_equal((r.returncode, r.stderr), (0, b""))
        for args in (["--progress=no", SLOW, pool.path], ["-q", SLOW, pool.path]):
            subprocess.run(["rm", "-rf", pool.at(".hash")] + [pool.at(g) for g in GUESTS], check=True)
            fill(pool)
            t = Terminal("--json", *args)
            expect_summary(*t.finish())
            expect_equal(t.text, b"", args)


@case("--progress=SECONDS writes a line that often, and no control characters")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        r = pipe("--progress=1", "--io-limit=%d" % (BYTES // 3), pool.path)
        expect_equal(r.returncode, 0)
        json.loads(r.stdout)
        lines = r.stderr.decode().splitlines()
        reading = r"hashify: reading: \d+ %, .* of 3\.4 MiB, \d+ of 180 files, .* left, .* freed, at [abc]"
        expect(2 <= sum(bool(re.fullmatch(reading, line)) for line in lines) <= 4, "lines:", lines)
        for line in lines:  # a slow machine is at something else for long enough to be told
            expect(re.fullmatch(reading + r"|hashify: (reading the store|walking|flushing)\b[ -~]*", line), "strange:", line)


@case("what the index knows is no part of what is to be read, unless it meets its equal")
def _(_):
    with new_pool(TOP) as pool:
        for i in range(FILES):  # of one class, so that each is hashed
            pool.put("a/f%d" % i, tree.noise(i, SIZE))
        pool.settle()
        time.sleep(0.3)  # the index is told of what is older than a tick
        expect_equal(summary(pool.path)["bytes_read"], FILES * SIZE)
        for i in range(20):
            pool.put("b/f%d" % (1000 + i), tree.noise(1000 + i, SIZE))
        pool.put("b/twin", tree.noise(0, SIZE))
        pool.settle()
        r = command("--json", "--no-default-excludes", "--progress=1", "--io-limit=%d" % (7 * SIZE), pool.path)
        s = json.loads(r.stdout)
        expect_equal(s["linked"], 1)
        said = re.findall(r"reading: (\d+) %, .*, (\d+) of (\d+) files", r.stderr.decode())
        expect(len(said) >= 2, "said", r.stderr)
        for percent, done, total in said:
            expect(int(total) in (21, 22), "of", total, "files:", said)
        expect(int(said[0][0]) < 60, "nearly done at the start:", said)


@case("a terminal that can do nothing gets lines, if asked for")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        t = Terminal("--json", "--progress=1", SLOW, pool.path, term="dumb")
        expect_summary(*t.finish())
        expect(b"\x1b" not in t.text and b"hashify: reading: " in t.text, "shown:", t.text)


@case("SIGUSR1 gets a line at once, and stops nothing")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        p = subprocess.Popen([HASHIFY, "--json", "--io-limit=%d" % (BYTES // 3), pool.path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for_mask(p)
        for _ in range(3):
            p.send_signal(signal.SIGUSR1)
            asked = time.monotonic()
            line = p.stderr.readline()
            expect(time.monotonic() - asked < 1, "answered after", time.monotonic() - asked, "s")
            expect(line.startswith(b"hashify: ") and line.endswith(b"\n"), "said", line)
        while not re.match(rb"hashify: reading: [1-9]\d* %", line):
            p.send_signal(signal.SIGUSR1)
            line = p.stderr.readline()
        out, err = p.communicate()
        expect_equal((p.returncode, err), (0, b""))
        json.loads(out)


@case("SIGUSR1 gets a line of verify, too, which says nothing by itself")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        summary(pool.path)
        p = subprocess.Popen([HASHIFY, "verify", "--json", "--io-limit=%d" % (BYTES // len(GUESTS) // 3), "--", pool.path],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for_mask(p)
        line = b""
        while not re.match(rb"hashify: verifying: [1-9]\d* %%, .* of .* \d+ of %d objects\b" % FILES, line):
            p.send_signal(signal.SIGUSR1)
            line = p.stderr.readline()
            expect(re.match(rb"hashify: (verifying|reading the store|looking for names)\b", line) and b"freed" not in line, "said", line)
        out, err = p.communicate()
        expect_equal((p.returncode, json.loads(out)["objects"], err), (0, FILES, b""))


@case("SIGUSR1 shows a line above the bar")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        t = Terminal("--json", SLOW, pool.path)
        expect(t.read_until(rb"\r *\d+%"), "no bar")
        t.process.send_signal(signal.SIGUSR1)
        expect_summary(*t.finish())
        lines = t.screen()
        expect(len(lines) == 2 and lines[0].startswith("hashify: reading: ") and lines[1] == "", "screen:", lines)


def wait_for_mask(p):
    """Until the program blocks SIGUSR1; False: it has ended."""
    bit = 1 << (signal.SIGUSR1 - 1)
    while p.poll() is None:
        with contextlib.suppress(OSError), open("/proc/%d/status" % p.pid) as f:
            mask = re.search(r"SigBlk:\s*([0-9a-f]+)", f.read())
            if mask and int(mask.group(1), 16) & bit:
                return True
    return False


@case("SIGUSR1 ends no command")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        for args in (["stat", pool.path], ["--dry-run", pool.path], ["stat", pool.path + "/none"]):
            wanted = command(*args).returncode
            hit = 0
            while hit < 3:
                p = subprocess.Popen([HASHIFY, *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                hit += wait_for_mask(p)
                p.send_signal(signal.SIGUSR1)
                expect_equal(p.wait(), wanted, args)


@case("--io-limit is kept, and a pass that waits for it stops at once")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        for jobs in ("1", "8"):
            subprocess.run(["rm", "-rf", pool.at(".hash")] + [pool.at(g) for g in GUESTS], check=True)
            fill(pool)
            s = json.loads(pipe(SLOW, "-j", jobs, pool.path).stdout)
            expect_equal(s["bytes_read"], BYTES)
            expect(s["seconds"] >= 1.85, "took only", s["seconds"], "s with", jobs, "jobs")
            expect(s["seconds"] <= 6, "took", s["seconds"], "s with", jobs, "jobs")

        subprocess.run(["rm", "-rf", pool.at(".hash")] + [pool.at(g) for g in GUESTS], check=True)
        fill(pool)
        p = subprocess.Popen([HASHIFY, "--json", "--progress=1", "--io-limit=1", pool.path], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        expect(p.stderr.readline().startswith(b"hashify: "), "no line")
        begun = time.monotonic()
        p.send_signal(signal.SIGINT)
        out, _ = p.communicate()
        s = expect_summary(p.returncode, out, 130)
        expect(time.monotonic() - begun < 2, "stopped after", time.monotonic() - begun, "s")
        expect_equal((s["stopped_by"], s["skipped"]["stopped"], s["bytes_read"]), ("SIGINT", FILES * len(GUESTS), 0))
        expect_equal(json.loads(pipe(pool.path).stdout)["linked"], FILES * (len(GUESTS) - 1))


@case("a limit that is none is told what one is, with 0 for none")
def _(_):
    for args in ((), ("verify",)):
        for wrong in ("0K", "-1", "1.5M", "x"):
            r = command(*args, "--io-limit=" + wrong, TOP)
            expect(r.returncode == 2 and b"or 0 for no limit, not " + wrong.encode() in r.stderr, wrong, r)


@case("-q says nothing, and --jobs changes nothing but the speed")
def _(_):
    with new_pool(TOP) as pool:
        fill(pool)
        r = command("-q", "--jobs=1", pool.path)
        expect_equal((r.returncode, r.stdout, r.stderr), (0, b"", b""))
        pool.expect_linked(*("%s/f0" % g for g in GUESTS))
        r = command("-q", pool.path + "/none")
        expect(r.returncode == 2 and r.stderr, "an error is not said")


@case("--io-limit=0 is no limit")
def _(_):
    with new_pool(TOP) as pool:
        pool.put_all("f", b"content")
        expect_equal(summary("--io-limit=1", "--io-limit=0", pool.path)["linked"], 2)


@case("what cannot be meant is refused")
def _(_):
    with new_pool(TOP) as pool:
        for wrong in ("-j0", "-j65", "-jx", "--jobs=-1", "--io-limit=", "--io-limit=1.5M", "--io-limit=99999999T", "--progress=maybe",
                      "--progress=0", "--progress=", "--back-off=yes", "-qv"):
            r = command(wrong, pool.path)
            expect(r.returncode == 2 and b"try hashify --help" in r.stderr and not r.stdout, wrong, r)
        expect_equal(os.listdir(pool.path), [])


sys.exit(cases.run(None))
