"""What a sidecar that was taken over cannot do to what lies beside its own socket."""

import sys

import pytest

from tests.sidecar.proxy_kit import bottle


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="confinement is Linux only")
async def test_it_does_not_take_the_place_of_its_sessions_holder() -> None:
    """Whoever answers at `holder.sock` is given its token, the operator's keys, and the order to end the agent."""
    async with bottle(main="tests.sidecar.compromised_main") as box:
        if any(said.startswith("Landlock") for said in box.ready["missing"]):
            pytest.skip("no Landlock here")
        run = box.folder / "run"
        (run / "holder.sock").touch()
        answer, _ = await box.channel.call("health", {"run": str(run)})
        assert answer["done"] == []
        assert sorted(path.name for path in run.iterdir()) == ["control.sock", "holder.sock"]
