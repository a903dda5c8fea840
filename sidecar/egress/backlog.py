"""What answers of all connections together may wait here for clients that do not read."""

from sidecar.egress.limits import Limits

MOST = 256 * 1024
"""Bytes of one connection that are taken at a time: each piece goes through all layers."""
LEAST = 32 * 1024
_TOGETHER = 16 * 1024 * 1024
"""Bytes that all connections take at a time. Of each, several copies stay for as long as its client does not read, and
OpenSSL's buffers stay as large as the largest piece was."""


def piece(connections: int) -> int:
    """Bytes that each of so many connections takes at a time."""
    return max(LEAST, min(MOST, _TOGETHER // max(1, connections)))


class Backlog:
    """Of one process: answers that HTTP/2's flow control holds back."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._of: dict[object, int] = {}
        self.total = 0

    def count(self, owner: object, size: int) -> None:
        """So much of `owner` waits now."""
        self.total += size - self._of.get(owner, 0)
        self._of[owner] = size

    def full(self, owner: object) -> bool:
        """Nothing more for `owner` before some of what waits is taken."""
        limits, own = self._limits, self._of.get(owner, 0)
        return own > (limits.waiting_bytes if self.total <= limits.waiting_total else limits.waiting_least)

    def forget(self, owner: object) -> None:
        self.count(owner, 0)
        del self._of[owner]
