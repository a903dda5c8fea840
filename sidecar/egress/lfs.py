"""The links in an answer of Git LFS (its docs/api/batch.md): signed as a release's are, but told in JSON. Bounded.

The answer itself is left to others: this reads a copy, and what it cannot read leads nowhere.
"""

import contextlib
import itertools

from pydantic import BaseModel, ValidationError

from sidecar.meter.decode import Decoder, Undecodable

MEDIA_TYPE = "application/vnd.git-lfs+json"

MOST = 512 * 1024
"""Bytes of an answer that is read: a client asks for a hundred objects, each with a link of 2 KB or so."""
MOST_LINKS = 512
"""Of one answer, the first of them: with a long address asked for, each takes the event loop two milliseconds."""


class _Action(BaseModel):
    href: str


class _Object(BaseModel):
    actions: dict[str, _Action] = {}


class _Answer(BaseModel):
    objects: list[_Object] = []


class Batch:
    """One answer, piece by piece."""

    def __init__(self, content_encoding: str) -> None:
        self._body = bytearray()
        self._decoder: Decoder | None = None
        with contextlib.suppress(Undecodable):
            self._decoder = Decoder(content_encoding)

    @staticmethod
    def told_by(content_type: str) -> bool:
        """Whether an answer of this media type is one."""
        return content_type.partition(";")[0].strip().lower() == MEDIA_TYPE

    def feed(self, data: bytes) -> None:
        """A piece of the body as it came."""
        if self._decoder is None:
            return
        try:
            for piece in self._decoder.feed(data):
                self._body += piece
                if len(self._body) > MOST:
                    raise Undecodable("too large")
        except Undecodable:
            self._decoder = None
            self._body.clear()

    def links(self) -> list[str]:
        """The addresses in it, as they are written."""
        if self._decoder is None:
            return []
        try:
            answer = _Answer.model_validate_json(bytes(self._body))
        except ValidationError:
            return []
        found = (action.href for each in answer.objects for action in each.actions.values())
        return list(itertools.islice(found, MOST_LINKS))
