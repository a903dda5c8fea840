"""The log file of a bottle: what its level asks for, and never in the way of what is being brought in."""

import json
import os
from pathlib import Path
from typing import Any, cast

import pytest

from app.controller import egress_log
from app.controller.egress_log import FILE, FORMER, writer
from app.controller.ingest import parse
from app.controller.session import Session
from app.store.base import Position
from sidecar.contract import ContentEvent, EgressEvent, NoticeEvent


class Bottle:
    """What the log asks of a session."""

    def __init__(self, folder: Path, level: int) -> None:
        self.state_folder, self.slug = folder, "one"
        self.record = self
        self.policy = self
        self.log = level


def lines() -> list[tuple[Position, bytes]]:
    def egress(name: str, decision: str, **detail: Any) -> EgressEvent:
        fields = {"id": name, "at": 1.0, "request_id": name, "decision": decision, "code": "ok", "host": "a.io"}
        return EgressEvent.model_validate(fields | {"detail": detail})

    events = [
        egress("passed", "allow"),
        egress("refused", "deny"),
        egress("held", "hold"),
        egress("doubtful", "allow", findings=[{"code": "high_entropy"}]),
        NoticeEvent(id="fine", at=1.0, code="x", text="x"),
        NoticeEvent(id="bad", at=1.0, level="warning", code="x", text="x"),
        ContentEvent(id="said", at=1.0, request_id="passed", part="request", body="hello"),
    ]
    return [(Position(1, number), event.model_dump_json().encode()) for number, event in enumerate(events)]


def write(folder: Path, level: int) -> list[str]:
    parsed = parse(lines())
    assert parsed.bad == 0
    act = writer(cast(Session, Bottle(folder, level)))
    if act is not None:
        act(parsed.events, parsed.contents)
    file = folder / FILE
    return [json.loads(line)["id"] for line in file.read_text().splitlines()] if file.exists() else []


def test_each_level_keeps_what_it_says(tmp_path: Path) -> None:
    for level in range(3):
        (tmp_path / str(level)).mkdir()
    assert write(tmp_path / "0", 0) == []
    assert write(tmp_path / "1", 1) == ["refused", "held", "doubtful", "bad"]
    assert write(tmp_path / "2", 2) == ["passed", "refused", "held", "doubtful", "fine", "bad", "said"]
    about = (tmp_path / "2" / FILE).stat()
    assert about.st_mode & 0o777 == 0o600
    assert all(json.loads(line)["bottle"] == "one" for line in (tmp_path / "2" / FILE).read_text().splitlines())


def test_what_was_said_is_never_in_the_store() -> None:
    assert not any("hello" in json.dumps(event.payload) for event in parse(lines()).events)


def test_a_file_that_is_full_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress_log, "MOST_BYTES", 100)
    write(tmp_path, 1)
    assert len(write(tmp_path, 1)) == 4
    assert len((tmp_path / FORMER).read_text().splitlines()) == 4


def test_a_file_that_cannot_be_written_is_told_and_holds_nothing_up(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    act = writer(cast(Session, Bottle(tmp_path, 1)))
    assert act is not None
    parsed = parse(lines())
    act(parsed.events, parsed.contents)
    assert "cannot be written" in caplog.text
    (tmp_path / FILE).unlink()
    os.mkfifo(tmp_path / FILE)
    act(parsed.events, parsed.contents)
    assert not (tmp_path / "elsewhere").exists()
