"""Texts that an answer sends in pieces, event by event: the deltas of a language model, put together again. Pure.

Whatever the provider, a delta is a string at one place of its event's JSON (`delta.text`, `choices[0].delta.content`,
`candidates[0].content.parts[0].text`), so each place is followed by itself. One that was not seen before also goes on
in the text of its last name: some streams give every event a number of its own. An event waits only while such a text
ends inside a secret, and goes on unchanged when the next one shows that it was none.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from sidecar import json_values
from sidecar.dlp.echo_seek import Seeker, Span, masked, merged, short

CONTEXT = 2048
"""Bytes of what has gone on that are read again with what comes: more than twelve characters in any two encodings."""

_PLACES = 64
_WAITING = 512
_WAITING_BYTES = 256 * 1024
"""What waits at most: twelve letters of a secret, each escaped three times, one character an event."""
_LEAVES = 2000
_IDENTITIES = ("index", "output_index", "content_index", "summary_index", "item_id", "id")
_BETWEEN = b"\n0x0X0\n"
"""Stands between texts that are searched at once: a secret's end and its beginning are no secret."""

_CODE = ("partial_json", "arguments")
_NEVER = frozenset(
    ("type", "id", "object", "model", "role", "event_id", "item_id", "obfuscation", "finish_reason", "stop_reason")
)
"""Members that no client joins over events: constants and names. They are searched within their event all the same."""

BEFORE = b" \t\r\n\x1e\xef\xbb\xbf"
"""Blanks, the separator of JSON sequences (RFC 7464) and a byte order mark."""

SSE_START = re.compile(rb"(?:\xef\xbb\xbf)?(?:event|data|id|retry)?:")
"""How an event stream begins: many clients read one whatever its header says."""

type Place = tuple[Any, ...]


@dataclass(slots=True, eq=False)
class Leaf:
    """One string of an event: where it is, and which parts of it are a secret's."""

    place: Place
    holder: Any
    key: Any
    text: bytes
    cuts: list[Span] = field(default_factory=list[Span])
    going_on: bool = False
    """The first cut is the rest of a secret that was already marked in an earlier event."""
    places: tuple[Place, ...] = ()
    """Of the texts that it goes on."""

    def cleaned(self) -> str:
        out: list[bytes] = []
        at = 0
        for start, end in self.cuts:
            hidden = b"" if self.going_on and not start else short(self.text[start:end], code=self.key in _CODE)
            out += [self.text[at:start], hidden]
            at = end
        return (b"".join(out) + self.text[at:]).decode("utf-8", "replace")


@dataclass(slots=True, eq=False)
class Piece:
    """One event: its payload, the tree that was read from it (None where it is no JSON), its strings."""

    payload: bytes
    tree: Any = None
    leaves: list[Leaf] = field(default_factory=list[Leaf])
    spans: list[Span] = field(default_factory=list[Span])
    tag: Any = None
    """The caller's: how the payload was framed."""

    @property
    def clean(self) -> bool:
        return not self.spans and not any(leaf.cuts for leaf in self.leaves)


@dataclass(slots=True)
class _Trail:
    """What was said at one place: the end of what has gone on, and the strings that wait."""

    gone: bytes = b""
    waiting: list[Leaf] = field(default_factory=list[Leaf])
    marked: bool = False


class Trails:
    """Events in, events out, in order."""

    def __init__(self, seeker: Seeker) -> None:
        self._seeker = seeker
        self._trails: OrderedDict[Place, _Trail] = OrderedDict()
        self._waiting: list[Piece] = []
        self._size = 0
        self._partial: set[Place] = set()

    @property
    def idle(self) -> bool:
        """Nothing waits."""
        return not self._waiting

    def add(self, payload: bytes, tag: Any = None) -> list[tuple[bytes, Piece]]:
        """The events that may go on after this one, each with its payload as it is to be sent."""
        piece = read(payload)
        piece.tag = tag
        self._examine(piece)
        self._waiting.append(piece)
        self._size += len(payload)
        if self._partial and len(self._waiting) < _WAITING and self._size < _WAITING_BYTES:
            return []
        return self.finish()

    def finish(self) -> list[tuple[bytes, Piece]]:
        """All that waits: there is no next event."""
        out = [(self._rendered(piece), piece) for piece in self._waiting]
        for piece in self._waiting:
            for leaf in piece.leaves:
                for trail in (self._trails[place] for place in leaf.places if place in self._trails):
                    trail.gone = (trail.gone + leaf.text)[-CONTEXT:]
                    trail.waiting.clear()
                    trail.marked = bool(leaf.cuts and leaf.cuts[-1][1] == len(leaf.text)) or (
                        trail.marked and not leaf.text
                    )
        self._waiting.clear()
        self._partial.clear()
        self._size = 0
        return out

    def _trail(self, place: Place) -> _Trail:
        trail = self._trails.pop(place, None) or _Trail()
        self._trails[place] = trail
        while len(self._trails) > _PLACES:
            oldest = next(iter(self._trails))
            if self._trails[oldest].waiting:
                break
            del self._trails[oldest]
        return trail

    def _examine(self, piece: Piece) -> None:
        """Look through the event by itself, and through each of its strings behind what was said there before."""
        touched: dict[Place, _Trail] = {}
        for leaf in piece.leaves:
            leaf.places = (leaf.place,) if leaf.place in self._trails else (leaf.place, (*leaf.place[-1:], None))
            for place in leaf.places:
                touched[place] = trail = self._trail(place)
                trail.waiting.append(leaf)
        wholes = [
            (place, b"".join((trail.gone, *(each.text for each in trail.waiting)))) for place, trail in touched.items()
        ]
        text = _BETWEEN.join((piece.payload, *(whole for _, whole in wholes)))
        spans = self._seeker.spans(text)
        if piece.leaves:
            self._partial.clear()  # what was waited for went on here, or did not
        at = len(piece.payload)
        piece.spans = [(start, min(end, at)) for start, end in spans if start < at]
        for place, whole in wholes:
            at += len(_BETWEEN)
            inside = [(s - at, e - at) for s, e in spans if s < at + len(whole) and e > at] if spans else []
            at += len(whole)
            _cut(touched[place], [(max(0, start), min(end, len(whole))) for start, end in inside])
            tail = self._seeker.tail(whole)
            if tail < len(whole) and not (inside and inside[-1][1] >= len(whole)):
                self._partial.add(place)

    def _rendered(self, piece: Piece) -> bytes:
        """The event without secrets; what cannot be cleaned string by string is masked in the bytes."""
        if piece.clean:
            return piece.payload
        if piece.tree is None:
            cuts = [cut for leaf in piece.leaves for cut in leaf.cuts]
            return masked(piece.payload, merged(piece.spans + cuts))
        for leaf in piece.leaves:
            if leaf.cuts:
                leaf.holder[leaf.key] = leaf.cleaned()
        data = piece.payload
        if any(leaf.cuts for leaf in piece.leaves):
            data = data[: len(data) - len(data.lstrip(BEFORE))] + _dumped(piece.tree)
        return masked(data, self._seeker.spans(data))


def _cut(trail: _Trail, spans: list[Span]) -> None:
    """Spread `spans` of the whole over the strings that wait. A span that began in what has gone on is marked there."""
    at = len(trail.gone)
    for leaf in trail.waiting:
        low, high = at, at + len(leaf.text)
        cuts = [(max(start, low) - low, min(end, high) - low) for start, end in spans if start < high and end > low]
        leaf.cuts = merged(leaf.cuts + cuts)
        before = trail.marked if low == len(trail.gone) else True
        leaf.going_on = before and any(start < low < end for start, end in spans)
        at = high


# --- reading an event ---------------------------------------------------------------------------------------------


def read(payload: bytes) -> Piece:
    """An event as its JSON's strings, or as one text."""
    text = payload.lstrip(BEFORE)
    if text[:1] in (b"{", b"["):
        try:
            tree = json_values.read(text)
        except (ValueError, RecursionError):
            pass
        else:
            return Piece(payload, tree, list(_leaves(tree)))
    return Piece(payload, None, [Leaf((), None, None, payload)])


def _dumped(tree: Any) -> bytes:
    try:
        return orjson.dumps(tree)
    except TypeError:
        return json.dumps(tree, separators=(",", ":")).encode()


def _leaves(tree: Any) -> Iterator[Leaf]:
    """The strings of a tree with their places: keys and positions, and what tells blocks apart."""
    stack: list[tuple[Place, Any]] = [((), tree)]
    count = 0
    while stack:
        place, node = stack.pop()
        if isinstance(node, dict):
            members = cast(dict[str, Any], node)
            place = place + tuple(members[name] for name in _IDENTITIES if isinstance(members.get(name), int | str))
            pairs: list[tuple[Any, Any]] = list(members.items())
        else:
            pairs = list(enumerate(cast(list[Any], node)))
        for key, value in pairs:
            if isinstance(value, str):
                if key not in _NEVER and value and count < _LEAVES:
                    count += 1
                    yield Leaf((*place, key), node, key, value.encode("utf-8", "replace"))
            elif isinstance(value, dict | list):
                stack.append(((*place, key), cast(Any, value)))
