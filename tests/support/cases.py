"""Named cases: run them all, print each name, and fail at the end if one failed.

    @case("a truncated link is private")
    def _(t): ...

    cases.run(argument)
"""
import os
import sys
import time
import traceback

_cases = []


class Failed(Exception):
    """What was promised does not hold."""


class NotHere(Exception):
    """The promise is not made in this mode, or on this filesystem."""


def case(name):
    def add(fn):
        _cases.append((name, fn))
        return fn
    return add


def expect(ok, *words):
    if not ok:
        raise Failed(" ".join(str(w) for w in words))


def expect_soon(holds, *words, seconds=20):
    """Waits until @holds, which must not take longer than @seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        expect(time.monotonic() < deadline, *words)
        time.sleep(0.005)


def expect_equal(got, wanted, what=""):
    if got != wanted:
        raise Failed("%s: %s, wanted %s" % (what or "differs", short(got), short(wanted)))


def short(value):
    if isinstance(value, (bytes, bytearray)):
        return "%d bytes %r…" % (len(value), bytes(value[:24])) if len(value) > 24 else repr(bytes(value))
    s = repr(value)
    return s if len(s) <= 300 else s[:300] + "…"


def expect_errno(wanted, fn, *args, **kw):
    """Calls @fn, which must fail with one of the errnos @wanted."""
    wanted = (wanted,) if isinstance(wanted, int) else wanted
    try:
        r = fn(*args, **kw)
    except OSError as e:
        expect(e.errno in wanted, "failed with", os.strerror(e.errno), "- wanted", [os.strerror(w) for w in wanted])
        return e.errno
    raise Failed("succeeded with %s, wanted %s" % (short(r), [os.strerror(w) for w in wanted]))


def as_user(uid, gid, fn, *args, groups=(), umask=0o022):
    """Calls @fn in a child process that is this user."""
    def become():
        os.setgroups(list(groups))
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        os.umask(umask)
    return in_child(become, fn, *args)


def in_child(become, fn, *args):
    """Calls @become and @fn in a child process. Returns what @fn returns (by eval of its repr); Failed and OSError come through."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(r)
            try:
                become()
                word = ("ok", fn(*args))
            except OSError as e:
                word = ("errno", e.errno)
            except Failed as e:
                word = ("failed", str(e))
            except Exception:
                word = ("failed", traceback.format_exc())
            os.write(w, repr(word).encode())
        finally:
            os._exit(0)
    os.close(w)
    with os.fdopen(r, "rb") as f:
        text = f.read()
    _, status = os.waitpid(pid, 0)
    expect(text, "the child ended with status", status, "and said nothing")
    kind, value = eval(text)
    if kind == "errno":
        raise OSError(value, os.strerror(value))
    if kind == "failed":
        raise Failed(value)
    return value


def run(*args, only=None, prefix=""):
    """Runs every case; returns the exit status."""
    only = only or os.environ.get("TEST_ONLY")
    ran = failed = 0
    for name, fn in _cases:
        if only and only not in name:
            continue
        ran += 1
        try:
            fn(*args)
            print("ok    %s%s" % (prefix, name), flush=True)
        except NotHere as e:
            print("-     %s%s: %s" % (prefix, name, e), flush=True)
        except Exception as e:
            failed += 1
            why = str(e) if isinstance(e, (Failed, OSError)) else traceback.format_exc()
            if isinstance(e, OSError):
                why += " at line %d" % traceback.extract_tb(e.__traceback__)[-1].lineno
            print("FAIL  %s%s: %s" % (prefix, name, why), flush=True)
    if failed:
        print("%d of %d failed" % (failed, ran), file=sys.stderr)
    return 1 if failed else 0
