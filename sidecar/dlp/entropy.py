"""Runs of text that are close to random for their alphabet: warnings, opt-in. Pure.

Thresholds are those of egress.md: of 64 characters, random base64 has about 5.3 bits a character and random hex 3.8, so
4.8 and 3.6 find them; 5.5 over all bytes would flag almost no base64. Images and integrity hashes are random by nature.
"""

import re
from collections.abc import Iterator

import numpy as np

from sidecar.dlp.finding import Finding, snippet

SIZE = 64
BASE64_BITS, HEX_BITS = 4.8, 3.6
_MOST = 50
_TOKEN = np.array([code < 128 and (chr(code).isalnum() or chr(code) in "+/_-=") for code in range(256)])
_MEDIA = re.compile(rb"iVBORw0KGg|/9j/|R0lGOD|UklGR|JVBERi0|Qk0|AAAA(?:GGZ0eX|IGZ0eX|HGZ0eX)|T2dnUw|SUQz|PHN2Zy")
_INTEGRITY = re.compile(rb"(?i)(?:sha(?:1|224|256|384|512)|md5|blake2b|integrity|checksum|digest|etag)[-:=\"' ]{1,4}\Z")
_HEX = re.compile(rb"[0-9a-fA-F]+")


def find(text: bytes) -> Iterator[Finding]:
    """A warning for each near-random run, fifty at most."""
    count = 0
    for start, end in _runs(text):
        run = text[start:end]
        before = text[max(0, start - 24) : start]
        if _MEDIA.match(run) or _INTEGRITY.search(before) or re.match(rb"(?i)sha\d{1,3}-", run):
            continue
        kind = "hex" if _HEX.fullmatch(run) else "base64"
        if _bits(run) < (HEX_BITS if kind == "hex" else BASE64_BITS):
            continue
        yield Finding(
            detector="entropy",
            code="high_entropy",
            severity="warn",
            kind=kind,
            title="A long run close to random",
            location="",
            view="raw",
            start=start,
            end=end,
            snippet=snippet(run),
        )
        count += 1
        if count == _MOST:
            return


def _runs(text: bytes) -> Iterator[tuple[int, int]]:
    """Token-like runs of at least `SIZE` characters."""
    if len(text) < SIZE:
        return
    inside = np.zeros(len(text) + 2, np.int8)
    inside[1:-1] = _TOKEN[np.frombuffer(text, np.uint8)]
    edges = np.flatnonzero(np.diff(inside))
    for start, end in edges.reshape(-1, 2):
        if end - start >= SIZE:
            yield int(start), int(end)


def _bits(run: bytes) -> float:
    """The greatest entropy of any stretch of `SIZE` characters, in bits a character."""
    rows = len(run) // SIZE
    values = np.frombuffer(run[: rows * SIZE], np.uint8).reshape(rows, SIZE).astype(np.int64)
    counts = np.bincount((values + 256 * np.arange(rows)[:, None]).ravel(), minlength=256 * rows).reshape(rows, 256)
    shares = counts / SIZE
    logs = np.log2(shares, out=np.zeros_like(shares), where=shares > 0)
    return float((-(shares * logs).sum(axis=1)).max())
