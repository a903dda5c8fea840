"""A zip archive that unpacks to more than one text may, taken apart: each member is looked at as the file it would be.

Only one that is exactly what its directory says (`dlp.zips`). The archive itself stays a text as well, with every byte
that lies in it, and what is no member of it is opened there as anywhere. What is taken apart of one archive, and for
one push, is bounded; whatever is beyond that stays refused.
"""

from collections.abc import Iterator

from sidecar.dlp import zips
from sidecar.dlp.unpacker import kind_of
from sidecar.gitgate import limits
from sidecar.gitgate.contents import Piece

_DEEP = 3
"""Archives in archives."""
_BATCH = 1024 * 1024


class Archives:
    """What may be taken apart for one push."""

    def __init__(self) -> None:
        self._left = limits.MAX_OPENED

    def opened(self, piece: Piece) -> Iterator[list[Piece]]:
        """In batches what it holds, and at last itself; nothing where it is none that is taken apart. Raises Broken
        where it is not what it seems."""
        whole = piece.kind == "blob" and len(piece.data) == piece.size and len(piece.inside) < _DEEP
        found = zips.members(piece.data) if whole and kind_of(piece.data) == "zip" else []
        size = len(piece.data) + sum(each.size for each in found)
        if not found or size > min(self._left, limits.MAX_ARCHIVE):
            return
        self._left -= size
        batch: list[Piece] = []
        held = 0
        for member in found:
            batch += _file(piece, member.name, zips.content(piece.data, member))
            held += member.size
            if held >= _BATCH:
                yield batch
                batch, held = [], 0
        yield batch
        yield [_inside(piece, b"", zips.unsigned(piece.data, found), len(piece.data))]


def _file(archive: Piece, name: bytes, data: bytes) -> Iterator[Piece]:
    """A member as the gate reads a file: in pieces where it is large."""
    if len(data) > limits.WINDOW and kind_of(data):
        raise zips.Broken("an archive in it is too large")
    for at in range(0, len(data), limits.WINDOW):
        yield _inside(archive, name, data[max(0, at - limits.OVERLAP) : at + limits.WINDOW], len(data))


def _inside(archive: Piece, name: bytes, data: bytes, size: int) -> Piece:
    return Piece(archive.oid, archive.kind, size, data, inside=(*archive.inside, name))
