"""What `carboy start` asks of the controller between its flags and the launch."""

import sys
from collections.abc import AsyncIterator
from typing import Literal, Self, cast

import pytest

from app.cli import launching
from app.client import Client
from app.core.model import BottleView, LaunchRequest, LaunchStep, Preflight, SecretNeed
from sidecar.secret import Secret
from tests.tui.scripted import preflight, view


class Preflights:
    """A controller that knows each request's name, and draws one where none is given; it misses a secret at first."""

    def __init__(self) -> None:
        self.asked: list[LaunchRequest] = []

    async def preflight(self, request: LaunchRequest) -> Preflight:
        self.asked.append(request)
        missing = SecretNeed(name="KEY", used_by="api.example", source="missing" if not request.env else "environment")
        return preflight(request, slug=request.name or f"dev-000{len(self.asked)}", secrets=(missing,))


async def test_a_bottle_keeps_the_name_of_its_first_preflight(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Preflights()
    monkeypatch.setenv("KEY", "value")
    request, plan = await launching._prepare(cast("Client", client), LaunchRequest(agent="dev", cwd="/w"), ask=False)
    assert [asked.name for asked in client.asked] == [None, "dev-0001"]
    assert request.name == plan.slug == "dev-0001"
    assert request.env == {"KEY": Secret("value")}


class Launches:
    """A launch with a step that takes long, and says why."""

    async def launch(self, request: LaunchRequest) -> AsyncIterator[LaunchStep | BottleView]:
        said: tuple[tuple[Literal["running", "done"], str], ...] = (("running", ""), ("running", "why"), ("done", ""))
        for state, detail in said:
            yield LaunchStep(session_id="1", slug="dev", step="sidecar", state=state, detail=detail)
        yield view("dev")


@pytest.mark.parametrize(
    ("terminal", "told"), [(True, "  sidecar: why\n  sidecar: done\n"), (False, "  sidecar: done\n")]
)
async def test_who_waits_at_a_terminal_is_told_what_takes_long(
    terminal: bool, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    client = cast("Client", Launches())
    await launching._launch(client, LaunchRequest(agent="dev", cwd="/w"), quiet=False)
    assert capsys.readouterr().err == told


class Resumes(Preflights):
    """A launch that finds out on its way that something is gone."""

    async def preflight(self, request: LaunchRequest) -> Preflight:
        return preflight(request, warnings=("said before",), secrets=())

    async def launch(self, request: LaunchRequest) -> AsyncIterator[LaunchStep | BottleView]:
        yield view("dev", notes=("said before", "its saved image is gone"))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None


async def test_what_a_launch_found_out_is_told_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def connect(*, start: bool) -> Resumes:
        return Resumes()

    monkeypatch.setattr(Client, "connect", connect)
    assert await launching.start(LaunchRequest(resume="dev", cwd="/w"), dry_run=False, detach=True, as_json=False) == 0
    assert capsys.readouterr() == ("dev\n", "warning: said before\nnote: its saved image is gone\n")
