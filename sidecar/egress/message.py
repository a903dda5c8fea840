"""One outgoing request as the scan sees it: a value without mitmproxy, and the texts in it with their places. Pure.

The host, the target and every header are joined into one text, so that a request costs one search, and a finding's
offset says where it stood.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from sidecar.dlp import decode
from sidecar.dlp.finding import Location

_SKIPPED = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection"})
"""Checked by the gate, or written anew."""
_USUAL = (b"accept", b"user-agent", b"content-", b"connection", b"cache-", b"x-stainless-", b"sec-", b"te", b"priority")
"""Beginnings of names of headers in which a drip is not looked for: 32 words are all that is kept of a request."""
MAX_TYPES = 4


@dataclass(frozen=True)
class Head:
    """All of a request but its body, in lines. `places` are the offsets at which each line begins."""

    text: bytes
    starts: tuple[int, ...]
    places: tuple[Location, ...]

    def where(self, start: int) -> Location:
        return self.places[max(0, bisect_right(self.starts, start) - 1)]


@dataclass(frozen=True, repr=False)
class Message:
    """`target` as it stands in the request line; `body` without the framing but with its content encoding."""

    host: str
    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    limit: int
    given: bool = False
    """An answer led to this target, so what looks like a credential in it is the upstream's own."""

    @property
    def path(self) -> str:
        """Without the query: what an approval is about."""
        return self.target.partition(b"?")[0].decode("latin-1")

    @property
    def size(self) -> int:
        return len(self.target) + len(self.body) + sum(len(name) + len(value) for name, value in self.headers)

    def values(self, wanted: bytes) -> list[str]:
        return [value.decode("latin-1") for name, value in self.headers if name.lower() == wanted]

    @property
    def encoding(self) -> str:
        return ",".join(self.values(b"content-encoding"))

    @cached_property
    def plain(self) -> decode.Plain:
        """The body without its content encoding, and what that carried besides. Raises Undecodable."""
        return decode.decompressed(self.body, self.encoding, limit=self.limit)

    @property
    def decoded(self) -> bytes:
        """The body without its content encoding. Raises Undecodable."""
        return self.plain.data

    def parts(self) -> list[decode.Part]:
        """What there is to scan of the body, the whole first. Raises Undecodable."""
        if not self.body:
            return []
        types = list(dict.fromkeys(self.values(b"content-type"))) or [""]
        if len(types) > MAX_TYPES:
            raise decode.Undecodable("body_undecodable", "too many content types")
        found = decode.parts(self.decoded, types[0], self.plain.beside)
        for other in types[1:]:
            found += decode.parts(self.decoded, other)[1:]
        return found

    def lines(self) -> Iterator[tuple[Location, bytes]]:
        """Everything but the body, each by itself."""
        path, mark, query = self.target.partition(b"?")
        yield Location("flow", "method"), self.method
        yield Location("host"), self.host.encode("ascii", "replace")
        yield Location("path"), path
        if mark:
            yield Location("query"), query
        for name, value in self.headers:
            plain = name.lower()
            if plain not in _SKIPPED:
                part = "cookie" if plain == b"cookie" else "header"
                yield Location(part, plain.decode("ascii", "replace")), name + b": " + value
        if spelt := self.spelt():
            yield Location("flow", "values"), spelt

    def spelt(self) -> bytes:
        """The short values of parameters, cookies and unusual headers, together (`decode.spelt`)."""
        pairs = re.split(rb"[&;,/]", self.target)
        for name, value in self.headers:
            plain = name.lower()
            if plain not in _SKIPPED:
                pairs += re.split(rb"[;,/]", value)
        return decode.spelt(pairs)

    @cached_property
    def head(self) -> Head:
        texts: list[bytes] = []
        starts: list[int] = []
        places: list[Location] = []
        at = 0
        for place, text in self.lines():
            texts.append(text)
            starts.append(at)
            places.append(place)
            at += len(text) + 1
        return Head(b"\n".join(texts), tuple(starts), tuple(places))

    def changing(self) -> bytes:
        """What a drip would be in: the target, a small body, and headers that are not the usual ones."""
        odd = [value for name, value in self.headers if not name.lower().startswith(_USUAL)]
        target = b"/" if self.given else self.target
        return b" ".join((target, self.body if len(self.body) <= 2048 else b"", *odd))
