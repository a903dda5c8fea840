"""The egress journal as every face shows it: one entry per request, its verdict as glyph, word and tone, filters.
Pure. Entries hold the hostile text as it came; it is made printable only where it is drawn."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Tone = Literal["ok", "refused", "asks", "changed", "error", "quiet"]
"""What a colour means; themes say which colour that is. A glyph and a word always say the same."""


class Verdict(NamedTuple):
    glyph: str
    word: str
    tone: Tone


VERDICTS: Mapping[str, Verdict] = {
    "allow": Verdict("✓", "allowed", "ok"),
    "deny": Verdict("✗", "refused", "refused"),
    "hold": Verdict("⚑", "held", "asks"),
    "redact": Verdict("~", "redacted", "changed"),
    "error": Verdict("!", "error", "error"),
}
UNKNOWN = Verdict("?", "unknown", "quiet")
NOTICE = Verdict("·", "notice", "quiet")
LEVELS: Mapping[str, Verdict] = {
    "info": NOTICE,
    "warning": Verdict("▲", "warning", "asks"),
    "error": Verdict("!", "error", "error"),
}


MOST_TIMES = 1_000_000_000


def times_of(data: Mapping[str, Any]) -> int:
    """How many requests one event stands for: a sidecar's word, which may be any value."""
    detail: Any = data.get("detail")
    more = detail.get("count") if isinstance(detail, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return 1 + more if isinstance(more, int) and not isinstance(more, bool) and 0 <= more <= MOST_TIMES else 1


class Entry(NamedTuple):
    """One line of the journal. `data` is the event as it came, for the whole story."""

    seq: int
    at: float
    slug: str
    kind: str
    decision: str
    code: str
    method: str
    host: str
    port: int
    path: str
    status: int | None
    bytes_up: int
    bytes_down: int
    ms: float
    reason: str
    request_id: str
    open: bool
    data: Mapping[str, Any]

    @property
    def verdict(self) -> Verdict:
        """How this entry is shown: never by colour alone."""
        if self.kind == "notice":
            return LEVELS.get(self.decision, NOTICE)
        return VERDICTS.get(self.decision, UNKNOWN)

    @property
    def why(self) -> str:
        """The reason, for where the host stands beside it: a reason that begins with the host says it once."""
        text = self.reason or self.code.replace("_", " ")
        return text.removeprefix(f"{self.host} is ") if self.host else text

    @property
    def target(self) -> str:
        """Host, port where it says something, and path."""
        usual = self.port in (0, 80, 443)
        return f"{self.host}{'' if usual else f':{self.port}'}{self.path}"


def entry(seq: int, at: float, slug: str, kind: str, data: Mapping[str, Any]) -> Entry:
    """The journal entry of an `egress` or `notice` event. Missing or wrong parts become empty ones, never errors."""
    if kind == "notice":
        code, level = _text(data, "code"), _text(data, "level") or "info"
        text = _text(data, "text")
        return Entry(seq, at, slug, kind, level, code, "", "", 0, "", None, 0, 0, 0.0, text, "", False, data)
    status = data.get("status")
    return Entry(
        seq,
        at,
        slug,
        kind,
        _text(data, "decision"),
        _text(data, "code"),
        _text(data, "method"),
        _text(data, "host"),
        _number(data, "port"),
        _text(data, "path"),
        status if isinstance(status, int) else None,
        _number(data, "bytes_up"),
        _number(data, "bytes_down"),
        float(_number(data, "ms")),
        _text(data, "reason"),
        _text(data, "request_id"),
        data.get("phase") == "open",
        data,
    )


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key, "")
    return value if isinstance(value, str) else str(value)


def _number(data: Mapping[str, Any], key: str) -> Any:
    value = data.get(key, 0)
    return value if isinstance(value, int | float) and value == value else 0


class Filter(NamedTuple):
    """What of the journal is shown. An empty part lets everything pass."""

    decisions: frozenset[str] = frozenset()
    host: str = ""
    text: str = ""
    slug: str = ""

    def passes(self, item: Entry) -> bool:
        if self.slug and item.slug != self.slug:
            return False
        if self.decisions and item.decision not in self.decisions:
            return False
        if self.host and self.host not in item.host.lower():
            return False
        return not self.text or self.text in f"{item.method} {item.target} {item.code} {item.reason}".lower()

    @property
    def active(self) -> bool:
        """True where something besides the bottle is filtered."""
        return bool(self.decisions or self.host or self.text)


def parse_filter(line: str, slug: str = "") -> Filter:
    """What the operator typed as a filter: words search everywhere, `host:x` the host, and a decision's word
    (`refused`, `deny`, `allowed`, `held`, `redacted`, `error`) that decision; several decisions add up."""
    words = {verdict.word: name for name, verdict in VERDICTS.items()} | {name: name for name in VERDICTS}
    words["blocked"] = "deny"
    decisions: set[str] = set()
    host, rest = "", list[str]()
    for part in line.lower().split():
        key, _, value = part.partition(":")
        if key == "host" and value:
            host = value
        elif key in ("decision", "is") and value in words:
            decisions.add(words[value])
        elif part in words:
            decisions.add(words[part])
        else:
            rest.append(part)
    return Filter(frozenset(decisions), host, " ".join(rest), slug)
