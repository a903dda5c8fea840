"""Data in host names: under a wildcard route every label is a message to whoever runs the domain. Pure.

One label is judged by its shape; a stream of them by how many new ones come in a minute. The caller passes the time.
"""

import math
import re
from collections import Counter, OrderedDict
from dataclasses import dataclass, replace

from sidecar.dlp.finding import Finding

WINDOW_SECONDS = 60.0
NEW_LABELS = 24
"""New labels under one wildcard in a minute: a page of a large site loads from a dozen hosts."""

_LONG_LABEL, _LONG_NAME = 40, 100
_KEPT = 256
_DOMAINS = 256
_TOKEN = re.compile(r"[a-z0-9_]+")
_HEX = re.compile(r"[0-9a-f]+")
_VOWELLESS = re.compile(r"[bcdfghjklmnpqrstvwxz0-9]{6,}")


def carries_data(label: str) -> str:
    """Why one label looks like data, "" where it does not."""
    lowered = label.lower().removeprefix("xn--")
    for token in _TOKEN.findall(lowered):
        size = len(token)
        digits = sum(char.isdigit() for char in token)
        if size >= 16 and size % 2 == 0 and digits >= 3 and _HEX.fullmatch(token):
            return "a label of hex digits"
        random = size >= 16 and _entropy(token) >= 0.8 * math.log2(min(size, 32))
        if random and (digits >= 2 or len(_VOWELLESS.findall(token)) >= 1):
            return "a label close to random"
    return "an over-long label" if len(label) > _LONG_LABEL else ""


def _entropy(text: str) -> float:
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def shape(labels: tuple[str, ...]) -> str:
    """Why the labels below a wildcard's domain, leftmost first, carry data; "" where they do not."""
    for label in labels:
        if reason := carries_data(label):
            return reason
    if sum(map(len, labels)) > _LONG_NAME:
        return "an over-long name"
    joined = "".join(labels)
    return carries_data(joined) if len(labels) > 2 else ""


@dataclass(frozen=True)
class Stream:
    """The labels seen lately under one wildcard, with the time of their first appearance, oldest first."""

    seen: tuple[tuple[str, float], ...] = ()


def step(stream: Stream, name: str, now: float) -> tuple[Stream, bool]:
    """The stream after `name`, and whether too many new names came in the last minute."""
    if any(known == name for known, _ in stream.seen):
        return stream, False
    seen = (*stream.seen, (name, now))[-_KEPT:]
    fresh = sum(1 for _, at in seen if now - at <= WINDOW_SECONDS)
    return replace(stream, seen=seen), fresh > NEW_LABELS


class HostLabels:
    """The streams of all wildcards of a bottle: a bounded LRU around `step`. Used on one thread."""

    def __init__(self) -> None:
        self._streams: OrderedDict[str, Stream] = OrderedDict()

    def find(self, host: str, domain: str, now: float) -> Finding | None:
        """What is wrong with a request to `host` under the wildcard `*.domain`."""
        name = host.removesuffix("." + domain)
        if name == host:
            return None
        reason = shape(tuple(name.split(".")))
        stream, flood = step(self._streams.pop(domain, Stream()), name.lower(), now)
        self._streams[domain] = stream
        while len(self._streams) > _DOMAINS:
            self._streams.popitem(last=False)
        if flood:
            reason = reason or "many new names in a minute"
        return _finding(reason, len(name)) if reason else None


def _finding(reason: str, size: int) -> Finding:
    return Finding(
        detector="host_labels",
        code="host_label_data",
        severity="block",
        kind="host_label",
        title=f"Data in a host name: {reason}",
        location="host",
        view="raw",
        start=0,
        end=size,
        snippet=f"*** ({size} bytes)",
    )
