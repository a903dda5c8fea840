"""The egress log on disk, for bottles whose manifest has `egress.log` 1 or 2: a file of JSON lines in the bottle's
folder, for the operator's own tools. The record in the store, on which usage, reports and the audit rest, is kept
whatever it says.

A line may come twice after a crash (its `id` tells). A file that cannot be written never holds ingestion up.
"""

import logging
import os
import stat
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from app.controller.ingest import Write
from app.controller.session import Session
from app.store.base import NewEvent
from sidecar.contract import ContentEvent

log = logging.getLogger(__name__)

FILES = FILE, FORMER = "egress.jsonl", "egress.1.jsonl"
MOST_BYTES = 32 * 1024 * 1024
"""Of the file, before it takes the former one's place."""
WARNINGS, EVERYTHING = 1, 2
_PASSED = "allow"


def writer(session: Session | None) -> Write | None:
    """What writes the log of a bottle that wants one. It blocks: called beside the loop."""
    if session is None or session.record.policy.log < WARNINGS:
        return None
    return partial(_write, session.state_folder, session.slug, session.record.policy.log)


def _write(
    folder: Path, slug: str, level: int, events: tuple[NewEvent, ...], contents: tuple[ContentEvent, ...]
) -> None:
    lines = [event.payload for event in events if level >= EVERYTHING or worth_a_warning(event)]
    if level >= EVERYTHING:
        lines += [content.model_dump(mode="json") for content in contents]
    try:
        _append(folder, [{"bottle": slug, **line} for line in lines])
    except OSError as error:
        log.warning("the egress log of %s cannot be written: %s", slug, error)


def worth_a_warning(event: NewEvent) -> bool:
    """True for what was refused, held or changed, and for what passed with a finding."""
    if event.kind == "notice":
        return event.payload.get("level") != "info"
    detail = event.payload.get("detail") or {}
    return event.payload.get("decision") != _PASSED or "findings" in detail or "inbound" in detail


def _append(folder: Path, lines: list[dict[str, Any]]) -> None:
    if not lines:
        return
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    fd = os.open(folder / FILE, flags, 0o600)
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(f"{FILE} is no file")
        if about.st_size > MOST_BYTES:
            (folder / FILE).replace(folder / FORMER)
            os.close(fd)
            fd = os.open(folder / FILE, flags, 0o600)
        os.write(fd, b"".join(orjson.dumps(line) + b"\n" for line in lines))
    finally:
        os.close(fd)
