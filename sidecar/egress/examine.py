"""Looks through one outgoing message, and takes out of it what was found. Pure, and made for threads.

A message that cannot be made clean is None: the caller refuses. What leaves after a redaction was examined again as a
whole, in the form in which it leaves.
"""

import gzip
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import brotli as brotli_module  # pyright: ignore[reportMissingTypeStubs]
import zstandard

from sidecar import json_values
from sidecar.dlp import crlf
from sidecar.dlp.decode import Part, Undecodable
from sidecar.dlp.engine import Engine, Scan
from sidecar.dlp.finding import Finding, Location, Match
from sidecar.dlp.known import Pieces
from sidecar.dlp.redact import MARK, redacted
from sidecar.dlp.session import Session
from sidecar.egress.message import Message
from sidecar.egress.scanner import Engines
from sidecar.egress.verdict import ALWAYS, DRIP, EDGE, Inspection

_br: Any = cast(Any, brotli_module)  # the binding has no types
PLAIN_MARK = b"redacted"
"""In a target, where brackets would have to be encoded."""
_DIGESTS = frozenset({b"content-md5", b"digest", b"content-digest", b"repr-digest"})
"""Wrong once the body is another."""
CARRY = 4 * 1024
"""Of what left on a WebSocket: more than the longest secret in its longest encoding that is worth a message."""
SHAPES = frozenset({"token_patterns"})
DRIP_DETECTORS = frozenset({"known_secrets", "token_patterns"})


@dataclass(frozen=True)
class Look:
    """How to look: the route's inspection, values that an operator approved here, and what is remembered."""

    inspection: Inspection
    allowed: tuple[Match, ...] = ()
    session: Session | None = None

    def scan(self, engines: Engines, data: bytes, where: Location, *, session: Session | None = None) -> Scan:
        """One text, by the route's detectors; and by those that no route turns off."""
        detectors = self.inspection.detectors
        examples = self.inspection.examples
        if detectors >= ALWAYS:
            return engines.all.scan(
                data, where=where, detectors=detectors, examples=examples, allowed=self.allowed, session=session
            )
        found = _scan(engines.alarms, data, where, ALWAYS)
        if detectors:
            more = engines.all.scan(data, where=where, detectors=detectors, examples=examples, allowed=self.allowed)
            found += more.findings
        return Scan(found)


class Examined(NamedTuple):
    """All that is found in a message, and the pieces of secrets in its texts (`size` bytes) as `engine` counts them."""

    findings: tuple[Finding, ...]
    engine: Engine
    pieces: Pieces
    size: int

    @property
    def blocked(self) -> bool:
        return any(finding.severity == "block" for finding in self.findings)

    def scattered(self, before: Pieces) -> tuple[Finding, ...]:
        """What its pieces are together with those `before` it."""
        found = self.engine.scattered(self.pieces, before)
        return tuple(replace(finding, location=DRIP) for finding in found)


def examine(engines: Engines, message: Message, look: Look) -> Examined:
    """Looks through all of a message. Raises Undecodable."""
    head = look.scan(engines, message.head.text, Location("flow"))
    told = _in_head(message, head)
    if message.given and head.blocked:
        told = _given(engines, message, look, told)
    scans = [head, *_in_body(engines, message, look)]
    found = [*told, *(finding for scan in scans[1:] for finding in scan.findings)]
    pieces = Pieces(frozenset(piece for scan in scans for piece in scan.pieces.seen))
    return Examined(tuple(found), engines.all, pieces, sum(scan.examined for scan in scans))


def _given(engines: Engines, message: Message, look: Look, found: list[Finding]) -> list[Finding]:
    """What `found` in the head means where an answer gave its target: shapes in that are noted, all else counts."""
    where, bare = Location("flow"), replace(message, target=b"/")
    inspection = replace(look.inspection, detectors=look.inspection.detectors - SHAPES)
    known = _in_head(message, replace(look, inspection=inspection).scan(engines, message.head.text, where))
    beside = _in_head(bare, look.scan(engines, bare.head.text, where))
    told = [finding for finding in found if finding.detector in SHAPES and finding.location in ("path", "query")]
    shapes = [finding for finding in beside if finding.detector in SHAPES]
    return [*known, *shapes, *(replace(finding, severity="warn") for finding in told)]


def _in_head(message: Message, scan: Scan) -> list[Finding]:
    found = [replace(finding, location=str(message.head.where(finding.start))) for finding in scan.findings]
    for place, text in message.lines():
        found += [replace(finding, location=str(place)) for finding in crlf.find(text)]
    return found


def _in_body(engines: Engines, message: Message, look: Look) -> list[Scan]:
    found: list[Scan] = []
    try:
        parts = message.parts()
    except Undecodable:
        if look.inspection.detectors:
            raise
        parts = [Part("", message.body)]  # this route passes unscanned; the canary is looked for as far as it goes
    for number, part in enumerate(parts):
        session = None if number else look.session
        found.append(look.scan(engines, part.data, Location("body", part.name), session=session))
    return found


def drip(engines: Engines, joined: bytes, look: Look) -> tuple[Finding, ...]:
    """What many small requests to one host hold together. Nothing of it can be approved: it stands in no single one."""
    if not joined:
        return ()
    found = engines.all.scan(
        joined,
        where=Location("flow", DRIP.partition(":")[2]),
        detectors=look.inspection.detectors & DRIP_DETECTORS,
        examples=look.inspection.examples,
    ).findings
    return tuple(
        replace(finding, value=None, exact=False)
        for finding in found
        if finding.severity == "block" and finding.code != "assigned_secret" and finding.detector != "limits"
    )


def canary_in(engines: Engines, message: Message) -> Finding | None:
    """The canary in a request that does not leave: its body as it came."""
    head = engines.alarms.scan(message.head.text, where=Location("flow"), detectors=ALWAYS)
    found = [*_in_head(message, head), *_scan(engines.alarms, message.body, Location("body"), ALWAYS)]
    return next((finding for finding in found if finding.detector == "canary" and finding.severity == "block"), None)


def examine_message(engines: Engines, data: bytes, carry: bytes, look: Look) -> Examined:
    """A WebSocket's message: by itself, and over the edge to what left before it."""
    where = Location("websocket")
    scan = look.scan(engines, data, where, session=look.session)
    found = scan.findings
    if carry and not scan.blocked:
        edge = len(carry)
        over = look.scan(engines, carry + data[:CARRY], where).findings
        # what ends before the edge was decided on when it left
        found += tuple(
            replace(finding, value=None, exact=False, location=EDGE)
            for finding in over
            if finding.severity == "block" and (finding.start < edge < finding.end or finding.detector == "limits")
        )
    return Examined(found, engines.all, scan.pieces, scan.examined)


def clean_message(engines: Engines, data: bytes, look: Look) -> bytes | None:
    """The text of a message without what is found in it."""
    after = redacted(data, _cleaner(engines, look, Location("websocket")))
    return None if after is None or (_is_json(data) and not _is_json(after)) else after


def _scan(engine: Engine, data: bytes, where: Location, detectors: frozenset[str]) -> tuple[Finding, ...]:
    return engine.scan(data, where=where, detectors=detectors).findings


# --- redaction ----------------------------------------------------------------------------------------------------


class Cleaned(NamedTuple):
    """What is left of a message, and what was seen in that."""

    message: Message
    examined: Examined


def clean(engines: Engines, message: Message, look: Look) -> Cleaned | None:
    """The message without what is found in it; None where that fails. Raises Undecodable."""
    headers = _clean_headers(engines, message, look)
    target = message.target if message.given else _clean_target(engines, message.target, look)
    if headers is None or target is None:
        return None
    body = _clean_body(engines, message, look)
    if body is None:
        return None
    if body != message.body:
        headers = tuple((name, value) for name, value in headers if name.lower() not in _DIGESTS)
    after = replace(message, headers=headers, target=target, body=body)
    examined = examine(engines, after, replace(look, session=None))
    return None if examined.blocked else Cleaned(after, examined)


def _cleaner(engines: Engines, look: Look, where: Location) -> Callable[[bytes], Scan]:
    def scan(data: bytes) -> Scan:
        found = look.scan(engines, data, where).findings
        return Scan((*found, *crlf.find(data))) if where.part not in ("body", "websocket") else Scan(found)

    return scan


def _clean_target(engines: Engines, target: bytes, look: Look) -> bytes | None:
    path, mark, query = target.partition(b"?")
    parts = [redacted(path, _cleaner(engines, look, Location("path")))]
    if mark:
        parts.append(redacted(query, _cleaner(engines, look, Location("query"))))
    if any(part is None for part in parts):
        return None
    return mark.join(part.replace(MARK.encode(), PLAIN_MARK) for part in parts if part is not None)


def _clean_headers(engines: Engines, message: Message, look: Look) -> tuple[tuple[bytes, bytes], ...] | None:
    fields: list[tuple[bytes, bytes]] = []
    for name, value in message.headers:
        if name.lower() in (b"host", b"content-length"):
            fields.append((name, value))
            continue
        lead = name + b": "
        line = redacted(lead + value, _cleaner(engines, look, Location("header", name.decode("latin-1").lower())))
        if line is None or not line.startswith(lead):
            return None
        fields.append((name, line.removeprefix(lead)))
    return tuple(fields)


def _clean_body(engines: Engines, message: Message, look: Look) -> bytes | None:
    if not message.body:
        return message.body
    if not any(scan.blocked for scan in _in_body(engines, message, replace(look, session=None))):
        return message.body
    data = redacted(message.decoded, _cleaner(engines, look, Location("body")))
    if data is None or (_is_json(message.decoded) and not _is_json(data)):
        return None
    return _encoded(data, message.encoding)


def _is_json(data: bytes) -> bool:
    """As its receiver may read it: in UTF-16 too."""
    try:
        json_values.read(data)
    except (ValueError, RecursionError):
        return False
    return True


def _encoded(data: bytes, encoding: str) -> bytes | None:
    """`data` in the content encoding that the headers name; None for one that is not made here."""
    names = [name.strip().lower() for name in encoding.split(",") if name.strip().lower() not in ("", "identity")]
    for name in names:
        encoder = _ENCODERS.get(name)
        if encoder is None:
            return None
        data = encoder(data)
    return data


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)


_ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": zlib.compress,
    "br": lambda data: _br.compress(data, quality=4),
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


def blanked(findings: Sequence[Finding], look: Look) -> Look:
    """The same look with these values approved: what would be left if the operator said yes to each."""
    values = tuple(finding.value for finding in findings if finding.value is not None)
    return replace(look, allowed=(*look.allowed, *values))
