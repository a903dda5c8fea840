"""How much and how long one bottle may keep this process busy. Values only; each says where it comes from."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Defaults are what runs; tests shorten them."""

    idle_seconds: float = 300.0
    """Without a request under way: clients keep pooled connections for 5 minutes at most (undici 4 s, Go 90 s)."""
    head_seconds: float = 60.0
    """From accepting to the first request's head, however slowly it comes."""
    stalled_seconds: float = 1800.0
    """With a request under way and nothing of it either way: a model may think for minutes, not for half an hour."""
    handshake_seconds: float = 20.0
    """For an upstream's TLS, after its TCP connection stands."""
    connections: int = 512
    """From one bottle. Clients keep six to a host at most; a build with many tools stays below a hundred."""
    upstreams: int = 1024
    """To all upstreams. An HTTP/2 client's streams have a connection each where the upstream speaks HTTP/1 only."""
    pooled_seconds: float = 75.0
    """After so long without a byte of an upstream's nothing new is sent on a connection to it that nothing is under way
    on: it may be gone without a word (this machine slept, a router forgot it). Servers end idle ones after 5 to 75 s;
    on HTTP/2 the answer to our ping comes every 58 s."""
    waiting_bytes: int = 8 * 1024 * 1024
    """That one HTTP/2 client's flow control may make us hold before we stop reading from upstreams."""
    waiting_total: int = 64 * 1024 * 1024
    """Of all HTTP/2 clients together: beyond it each has `waiting_least`."""
    waiting_least: int = 64 * 1024
    control_burst: int = 500
    """Frames of HTTP/2 that cost their sender nothing (resets, pings, settings) at once, and a second after that:
    the rapid reset of CVE-2023-44487 sends thousands. nghttp2 takes 1000 and 33."""
    control_rate: float = 20.0


DEFAULT = Limits()


class Bucket:
    """Lets `burst` through at once and `rate` a second after that."""

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = float(burst)
        self._rate = rate
        self._left = float(burst)
        self._at = time.monotonic()

    def take(self) -> bool:
        """True while there is room for one more."""
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
