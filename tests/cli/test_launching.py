"""What `carboy start` asks of the controller between its flags and the launch."""

from typing import cast

import pytest

from app.cli import launching
from app.client import Client
from app.core.model import LaunchRequest, Preflight, SecretNeed
from sidecar.secret import Secret
from tests.tui.scripted import preflight


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
