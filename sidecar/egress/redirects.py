"""The addresses that answers led the bottle to: signed links of downloads (releases, images, models) carry what looks
like a credential, and is none of the bottle's. Pure.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from sidecar.egress.names import split_authority

MAX_REMEMBERED = 2048
STATUSES = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """One request's: `target` as it stands in its first line, its bytes as Latin-1."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def key(self) -> bytes:
        return hashlib.sha256(f"{self.scheme}://{self.host}:{self.port}{self.target}".encode()).digest()

    def led_to(self, location: str) -> "Address | None":
        """Where `location` (as Latin-1) in the answer to this one leads (RFC 9110 10.2.2); None where that is nothing
        to load."""
        try:
            parts = urlsplit(urljoin(f"{self.scheme}://{_authority(self.host, self.port)}{self.target}", location))
        except ValueError:
            return None
        named = split_authority(parts.netloc, _PORTS.get(parts.scheme, 0))
        if named is None:
            return None
        query = f"?{parts.query}" if parts.query else ""
        return Address(parts.scheme, *named, f"{parts.path or '/'}{query}")


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass
class Redirects:
    """Those of one bottle, the latest of them. Only digests: the links are credentials to somebody."""

    _known: OrderedDict[bytes, None] = field(default_factory=OrderedDict[bytes, None])

    def note(self, asked: Address, location: str) -> None:
        led = asked.led_to(location)
        if led is None:
            return
        self._known[led.key] = None
        self._known.move_to_end(led.key)
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)

    def led_to(self, asked: Address) -> bool:
        """Whether exactly this was an answer's word."""
        return bool(self._known) and asked.key in self._known
