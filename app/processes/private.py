"""Keeps what a process of ours knows to itself: no core dump, and on Linux no other process of the same user may read
its memory or environment. For those that see a secret for a moment; sidecars and holders close themselves more."""

import resource
import sys


def keep_to_itself() -> None:
    """Call it before the first secret comes in."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        from sidecar.kernel import libc

        libc.set_dumpable(False)
