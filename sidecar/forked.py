"""Processes that are forked off a sidecar before it locks itself in, since afterwards it may start none."""

import os
import signal
import socket
import sys
from collections.abc import Callable


def forked(name: str, serve: Callable[[socket.socket], object]) -> socket.socket:
    """Have `serve` run in a process of its own, to its end, on one end of a socket pair; the other one is returned. It
    has no other descriptor but the standard three, and no signal handler. The caller has no threads."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        code = 1
        try:
            ours.close()
            _forget(theirs)
            serve(theirs)
            code = 0
        except BaseException as error:
            # a type and no more: what it was about may be anything
            sys.stderr.write(f"the {name} failed: {type(error).__name__}\n")
        finally:
            os._exit(code)
    theirs.close()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for it
    return ours


def _forget(keep: socket.socket) -> None:
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.setsid()
    os.umask(0o077)
    close_all_but(keep)


def close_all_but(keep: socket.socket) -> None:
    """Close every descriptor but that and the standard three."""
    number = keep.fileno()
    os.closerange(3, number)
    os.closerange(number + 1, os.sysconf("SC_OPEN_MAX"))
