"""What every probe is made of: a registry, one forked process each, a verdict. Runs inside a bottle with whatever
Python is there (3.8 or later), so it imports nothing but the standard library and nothing of carboy.

A probe returns True where it got out, False where the wall held, and raises Untestable where it could not try.
"""

import ctypes
import json
import os
import platform
import select
import signal
import sys
import time

PROBES = {}
SECONDS = 8.0
LAST = "resources.memory"
"""Where a bottle has a kernel of its own, the whole of it ends with this one."""
LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"


class Untestable(Exception):
    """The means to try this are missing here."""


class Refused(Exception):
    """A step of the attack was refused."""


def probe(name):
    def register(function):
        PROBES[name] = function
        return function

    return register


def syscall(x86, arm, *args):
    """A raw system call by number. Raises Refused with the error's text."""
    number = x86 if X86 else arm
    if number is None:
        raise Untestable("no such call on this machine")
    values = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = LIBC.syscall(ctypes.c_long(number), *values)
    if result < 0:
        raise Refused(os.strerror(ctypes.get_errno()))
    return result


def errno_of(x86, arm, *args):
    """The error number of a raw system call, 0 where it worked."""
    ctypes.set_errno(0)
    values = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    number = x86 if X86 else arm
    if number is None:
        raise Untestable("no such call on this machine")
    return ctypes.get_errno() if LIBC.syscall(ctypes.c_long(number), *values) < 0 else 0


def run_one(function, facts):
    """The verdict of one probe, in a process of its own: it may be killed, or kill what it can."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            verdict = ["escaped" if function(facts) else "held", ""]
        except Untestable as reason:
            verdict = ["untestable", str(reason)]
        except Refused as reason:
            verdict = ["held", str(reason)]
        except (OSError, MemoryError, ValueError) as error:
            verdict = ["held", f"{type(error).__name__}: {error}"]
        except BaseException as error:
            verdict = ["untestable", f"{type(error).__name__}: {error}"]
        try:
            os.write(writing, json.dumps(verdict).encode())
        finally:
            os._exit(0)
    os.close(writing)
    ready, _, _ = select.select([reading], [], [], SECONDS)
    answer = os.read(reading, 65536) if ready else b""
    os.close(reading)
    if not ready:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if answer:
        return json.loads(answer)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return ["held", f"killed by signal {number}"] if ready else ["untestable", "it hung"]
    return ["untestable", "no verdict"]


def main(facts_path):
    """Run all probes against the facts in a file."""
    with open(facts_path) as stream:
        run(json.load(stream))


def run(facts, left_out=()):
    """Run all probes and print one JSON line each, with a mark that a terminal's noise cannot fake by accident. Those
    whose names begin with one of `left_out` are told of as not tried."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for name in sorted(PROBES, key=lambda name: name == LAST):
        function = PROBES[name]
        if name == LAST:
            sys.stdout.write("@@last\n")
            sys.stdout.flush()
        began = time.time()
        if name.startswith(tuple(left_out)):
            verdict, detail = "untestable", "not tried in a bottle that works"
        else:
            verdict, detail = run_one(function, facts)
        line = {"probe": name, "verdict": verdict, "detail": detail[:300], "ms": round((time.time() - began) * 1000)}
        sys.stdout.write("@@" + json.dumps(line) + "\n")
        sys.stdout.flush()
    sys.stdout.write("@@done\n")
    sys.stdout.flush()
