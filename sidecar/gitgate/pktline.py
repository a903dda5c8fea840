"""git's wire format: packets with a length in front, and the commands of a push. Pure; what it reads is hostile.

gitprotocol-common(5), gitprotocol-pack(5). Raises `Malformed` on anything that is not exactly that.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_PACKET = 65520
"""Length with its four digits (gitprotocol-common: LARGE_PACKET_MAX)."""
MAX_DATA = MAX_PACKET - 5
"""Payload of a packet on a side band."""
FLUSH = b"0000"
ZERO = "0" * 40
MAX_COMMANDS = 500
"""References in one push."""
MAX_HEAD = 1024 * 1024
"""All commands of a push with their packets."""

_LENGTH = re.compile(rb"[0-9a-fA-F]{4}")
_COMMAND = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) ([^\x00\n]+)")
_BAD_NAME = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|\Z)|\.(?:/|\Z)")


class Malformed(ValueError):
    """Not what git would send. The text never holds what came."""


@dataclass(frozen=True)
class Command:
    """One reference that a push wants changed; object names in full, `ZERO` for none."""

    old: str
    new: str
    ref: str

    @property
    def deletes(self) -> bool:
        return self.new == ZERO

    @property
    def creates(self) -> bool:
        return self.old == ZERO


@dataclass(frozen=True)
class Push:
    """The head of a push. `end` is where the pack begins."""

    commands: tuple[Command, ...]
    capabilities: frozenset[str]
    end: int


def packet(data: bytes) -> bytes:
    if len(data) > MAX_PACKET - 4:
        raise ValueError("too long for a packet")
    return b"%04x" % (len(data) + 4) + data


def band(number: int, data: bytes) -> Iterator[bytes]:
    """`data` as packets of a side band: 1 the answer, 2 what the user reads, 3 a fatal error."""
    for start in range(0, len(data), MAX_DATA):
        yield packet(bytes((number,)) + data[start : start + MAX_DATA])


def next_packet(data: bytes, at: int) -> tuple[bytes | None, int]:
    """The packet at `at` and where the next begins; None for a flush. Raises Malformed, also where it is cut off."""
    size = data[at : at + 4]
    if not _LENGTH.fullmatch(size):
        raise Malformed("not a packet of git's protocol")
    length = int(size, 16)
    if length == 0:
        return None, at + 4
    if length < 5 or length > MAX_PACKET or at + length > len(data):
        raise Malformed("a packet with a wrong length")
    return data[at + 4 : at + length], at + length


def read_push(head: bytes) -> Push:
    """The commands at the beginning of a push's body. Raises Malformed."""
    commands: list[Command] = []
    capabilities: frozenset[str] = frozenset()
    at = 0
    while True:
        line, at = next_packet(head, at)
        if line is None:
            break
        if line.startswith(b"shallow "):  # what a shallow clone lacks, the mirror has: connectivity is checked anyway
            continue
        if not commands and b"\0" in line:
            line, _, said = line.partition(b"\0")
            capabilities = frozenset(said.decode("ascii", "replace").split())
        found = _COMMAND.fullmatch(line.rstrip(b"\n"))
        if found is None:
            raise Malformed("a command that is not one (certificates of signed pushes are not taken)")
        if len(commands) >= MAX_COMMANDS:
            raise Malformed(f"more than {MAX_COMMANDS} references at once")
        commands.append(Command(found[1].decode(), found[2].decode(), _ref(found[3])))
    if not commands:  # upstream would be asked to take whatever git thinks of
        raise Malformed("a push without a reference")
    if len({command.ref for command in commands}) != len(commands):
        raise Malformed("one reference twice")
    if "push-options" in capabilities:
        raise Malformed("push options are not taken")
    return Push(tuple(commands), capabilities, at)


def _ref(name: bytes) -> str:
    try:
        text = name.decode()
    except UnicodeDecodeError:
        raise Malformed("a reference whose name is not UTF-8") from None
    if not valid_ref(text):
        raise Malformed("a reference with a name that git does not allow")
    return text


def valid_ref(name: str) -> bool:
    """git-check-ref-format(1), for names in full; and nothing that a refspec or an option could be made of."""
    return (
        name.startswith("refs/")
        and name.isprintable()
        and len(name.encode()) <= 250
        and not name.endswith("/")
        and not _BAD_NAME.search(name)
        and name.count("/") >= 2
    )
