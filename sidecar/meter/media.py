"""Pictures and files in a request, in base64 as its API takes them: no text to the model. Told by where they stand,
since the same letters anywhere else are read as text, whatever is written before them. Pure.
"""

from base64 import b64decode
from collections.abc import Iterator
from typing import NamedTuple

from sidecar.meter.loads import Tree, items, tree

LEAST = 200
"""Characters below which it makes no difference."""

_CONVERSATIONS = ("messages", "input", "contents")
_CONTENTS = ("content", "parts", "output")
_PICTURES = frozenset(("input_image", "computer_screenshot", "image_url"))
_FOR_URLS = bytes.maketrans(b"-_", b"+/")
_IN_NO_TEXT = bytes({*range(32), 127} - set(b"\t\n\f\r"))
_MOST_OF_IT = 0.02
"""Of a text; they are a tenth of what is compressed."""


class Media(NamedTuple):
    data: str
    """As it stands in the request."""
    picture: bool


def media(body: Tree) -> Iterator[Media]:
    """Those of a conversation, in its order."""
    for entry in _entries(tree(body.get("request")) or tree(body.get("response")) or body):
        yield from _of(entry)
        for part in _parts(entry):
            yield from _of(part)
            answer = tree(part.get("functionResponse"))  # a tool's, as is what has contents of its own
            for inner in _parts(answer or part):
                yield from _of(inner)


def text_in(data: str) -> bytes:
    """What the model reads of a file as text: all of one that is nothing else, whatever type it is said to have."""
    encoded = (data.partition(";base64,")[2] if data.startswith("data:") else data).encode("utf-8", "replace")
    try:
        held = b64decode(encoded.translate(_FOR_URLS) + b"=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        held = b""
    if not held:
        return data.encode("utf-8", "replace")
    odd = len(held) - len(held.translate(None, _IN_NO_TEXT))
    return held if odd <= len(held) * _MOST_OF_IT else b""


def _entries(body: Tree) -> Iterator[Tree]:
    for name in _CONVERSATIONS:
        yield from map(tree, items(body.get(name)))


def _parts(entry: Tree) -> Iterator[Tree]:
    for name in _CONTENTS:
        found = entry.get(name)
        yield from map(tree, items(found) or [found])


def _of(part: Tree) -> Iterator[Media]:
    data, kind = _told(part)
    if isinstance(data, str) and len(data) >= LEAST:
        yield Media(data, str(kind).startswith("image/") or (kind == "" and data.startswith("data:image/")))


def _told(part: Tree) -> tuple[object, object]:
    """The data of a part, and its type where that stands beside it."""
    kind = part.get("type")
    inline, source = tree(part.get("inlineData") or part.get("inline_data")), tree(part.get("source"))
    if inline:
        return inline.get("data"), inline.get("mimeType") or inline.get("mime_type")
    if kind in ("image", "document") and source.get("type") == "base64":
        return source.get("data"), source.get("media_type")
    if kind in _PICTURES:
        url = part.get("image_url")
        return tree(url).get("url") or url, ""
    if kind in ("input_file", "file"):
        return part.get("file_data") or tree(part.get("file")).get("file_data"), "file"
    if kind == "input_audio":
        return tree(part.get("input_audio")).get("data"), "audio"
    return part.get("result") if kind == "image_generation_call" else None, "image/"
