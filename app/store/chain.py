"""The audit chain: rows bound to one another by HMAC. Pure: rows and keys in, findings out.

Each row's tag covers its own fields and the tag before it, so a changed, removed or moved row breaks every tag that
follows. The *head* (count and last tag, itself tagged) lies outside the database and shows rows cut off at the end.
"""

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

BROKEN = "audit-broken"
"""Action of the row that is written where the chain was found broken."""

GENESIS = "0" * 64
"""The tag before the first row."""


@dataclass(frozen=True)
class AuditRow:
    """One thing that was decided or done. `number` counts from 1 without gaps."""

    number: int
    at: float
    action: str
    actor: str
    slug: str
    session_id: str
    detail: dict[str, Any]
    tag: str


@dataclass(frozen=True)
class Head:
    """Where the chain ends."""

    count: int = 0
    tag: str = GENESIS


@dataclass(frozen=True)
class Finding:
    """Where the chain does not hold, and how."""

    number: int
    text: str


def _mac(key: bytes, purpose: bytes, body: object) -> str:
    message = purpose + b"\0" + orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def row_tag(key: bytes, previous: str, row: AuditRow) -> str:
    """The tag that `row` must carry after a row tagged `previous`."""
    body = [previous, row.number, row.at, row.action, row.actor, row.slug, row.session_id, row.detail]
    return _mac(key, b"carboy audit row", body)


def next_row(
    key: bytes,
    head: Head,
    *,
    at: float,
    action: str,
    actor: str = "",
    slug: str = "",
    session_id: str = "",
    detail: dict[str, Any] | None = None,
) -> AuditRow:
    """The row that follows `head`."""
    # through JSON once, so that what is tagged is exactly what a later reader gets back
    plain = orjson.loads(orjson.dumps(detail or {}))
    row = AuditRow(head.count + 1, at, action, actor, slug, session_id, plain, "")
    return AuditRow(**{**row.__dict__, "tag": row_tag(key, head.tag, row)})


def seal_head(key: bytes, head: Head) -> bytes:
    """The head as it is written outside the database."""
    return orjson.dumps({"count": head.count, "tag": head.tag, "mac": _mac(key, b"carboy audit head", _plain(head))})


def open_head(key: bytes, data: bytes) -> Head | None:
    """The head that `seal_head` wrote; None where it was changed or is not one."""
    try:
        value = orjson.loads(data)
        head, mac = Head(int(value["count"]), str(value["tag"])), str(value["mac"])
    except (ValueError, KeyError, TypeError):
        return None
    return head if hmac.compare_digest(mac, _mac(key, b"carboy audit head", _plain(head))) else None


def _plain(head: Head) -> list[object]:
    return [head.count, head.tag]


def verify(key: bytes, rows: Iterable[AuditRow], head: Head | None) -> list[Finding]:
    """What is wrong with the chain; empty if it holds. `head` is None where it is gone or broken: there is one from the
    key's first moment on. A break that was found before stays one, though the chain went on behind it.

    Rows beyond the head are no fault: a crash between the row and the head leaves them, and only the key's owner can
    tag one.
    """
    listed = list(rows)
    findings = verify_from(key, Head(), listed)
    if head is None:
        findings.append(Finding(len(listed), "the record of the chain's end is missing or was changed"))
    elif len(listed) < head.count:
        findings.append(Finding(len(listed), f"rows {len(listed) + 1} to {head.count} were cut off"))
    elif head.count and listed[head.count - 1].tag != head.tag:
        findings.append(Finding(head.count, "the chain's end is not the one that was recorded"))
    return [*findings, *(Finding(row.number, _former(row)) for row in listed if row.action == BROKEN)]


def _former(row: AuditRow) -> str:
    found = row.detail.get("found")
    told = "; ".join(map(str, found[:3])) if isinstance(found, list) else "no details"
    return f"row {row.number} records that the trail was found broken: {told}"


def verify_from(key: bytes, start: Head, rows: Iterable[AuditRow]) -> list[Finding]:
    """What is wrong with `rows`, which follow `start`."""
    findings: list[Finding] = []
    previous, number = start.tag, start.count
    for row in rows:
        number += 1
        if row.number != number:
            findings.append(Finding(row.number, f"row {number} is missing or rows were moved: found {row.number}"))
            number = row.number
        if not hmac.compare_digest(row.tag, row_tag(key, previous, row)):
            findings.append(Finding(row.number, f"row {row.number} was changed, or the one before it was"))
        previous = row.tag
    return findings
