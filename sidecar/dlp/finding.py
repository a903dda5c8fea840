"""What a detector says: one immutable `Finding`, safe to print, and the raw `Match` beside it, which is not.

A finding's printable fields (title, location, snippet) never hold a character of a secret beyond a vendor's constant
prefix. The matched bytes are in `Match` only: no repr, no pickle, no hash, memory alone.
"""

import hmac
from dataclasses import dataclass, field
from typing import Literal, NoReturn

Severity = Literal["block", "warn"]
Detector = Literal[
    "token_patterns", "known_secrets", "canary", "entropy", "financial", "host_labels", "crlf", "injection", "limits"
]

PREFIX_SHOWN = 4
"""Characters of a vendor's constant prefix that a snippet may show: `ghp_`, `AKIA`, `sk-a`."""


class Match:
    """The matched bytes, exactly as they stood in the view. `reveal()` is the only way to them."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """The bytes themselves: for redaction and for an operator's decision kept in memory, nothing else."""
        return self._value

    def __repr__(self) -> str:
        return "Match(***)"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return "Match(***)"

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Match):
            return NotImplemented
        return hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret is a way to test guesses

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Match is never pickled")


@dataclass(frozen=True)
class Location:
    """Where in a request something stood: `part` is a word of ours, `name` comes from the request and is bounded.

    `path` and `query` are JSON-free text; `body` may be decoded into parts whose names say how (`body/form:token`).
    """

    part: Literal["host", "path", "query", "header", "cookie", "body", "trailer", "websocket", "flow", "response"]
    name: str = ""

    def __str__(self) -> str:
        return f"{self.part}:{self.name[:80]}" if self.name else self.part


@dataclass(frozen=True)
class Finding:
    """One thing found. `code` is stable; `kind` is the credential type's id or the detector's own sub-type.

    `view` names the text that it was found in (`raw`, `json`, `folded`, `decoded:base64` …); `start` and `end` count
    that view's bytes. `value` is None where no single value could be approved: CRLF, separated, partial and drip-fed
    matches. `exact` says that `value` stands literally, byte for byte, in the scanned data.
    """

    detector: Detector
    code: str
    severity: Severity
    kind: str
    title: str
    location: str
    view: str
    start: int
    end: int
    snippet: str
    example: bool = False
    exact: bool = False
    value: Match | None = field(default=None, compare=False)

    @property
    def approvable(self) -> bool:
        """An operator may allow this one value at this one place."""
        return self.value is not None and self.exact and self.severity == "block" and self.detector != "canary"


def snippet(value: bytes, *, prefix: int = 0) -> str:
    """A redacted picture of `value`: at most a constant prefix of it, and its length. ASCII and one line."""
    shown = value[: min(prefix, PREFIX_SHOWN, len(value) // 4)].decode("ascii", "replace")
    safe = "".join(char if char.isascii() and char.isprintable() else "?" for char in shown)
    return f"{safe}*** ({len(value)} bytes)"
