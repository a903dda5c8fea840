"""What a push is told where the gate's own disk is full."""

import errno
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sidecar.gitgate import push
from sidecar.gitgate.pktline import ZERO, Command, Push


class Answer:
    keepalive = b""
    keep_going = False
    gone = False

    def __init__(self) -> None:
        self.said = b""

    async def begin(self, status: int, content_type: str) -> None:
        self.said += f"{status} {content_type} ".encode()

    async def put(self, data: bytes) -> None:
        self.said += data

    async def end(self) -> None:
        self.said += b"end"


async def test_a_full_disk_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(session: push.Session, fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/private/incoming-1")

    monkeypatch.setattr(push, "_carry_out", full)
    asked = Push((Command(ZERO, "1" * 40, "refs/heads/a"),), frozenset({"report-status", "side-band-64k"}), 0)
    answer, other = Answer(), cast(Any, SimpleNamespace())
    session = push.Session(
        other, other, asked, cast(Any, answer), other, other, other, other, 1, str, str, other
    )  # fmt: skip
    await push.receive(session, -1)
    assert session.reported
    assert (session.code, session.reason) == ("git_failed", "the git gate could not do it")
    assert b"on its host: No space left on device" in answer.said
    assert b"ng refs/heads/a the git gate could not do it" in answer.said
    assert b"/private" not in answer.said
