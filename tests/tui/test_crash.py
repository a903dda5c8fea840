"""A crash of the app itself must not print what somebody was typing."""

import pytest

from tests.tui.scripted import ScriptedClient, app
from tests.tui.waiting import ready


class Boom(Exception):
    pass


async def test_a_crash_prints_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    crashing = app(ScriptedClient())

    def explode() -> None:
        typed_secret = "sk-typed-in"  # noqa: F841
        raise Boom("broken")

    with pytest.raises(Boom):  # noqa: PT012
        async with crashing.run_test(size=(100, 30)) as pilot:
            await ready(pilot)
            crashing.call_later(explode)
            await pilot.pause()
            await pilot.pause()
    shown = "".join(segment.text for part in crashing._exit_renderables for segment in part.segments)
    out = capsys.readouterr()
    assert "Boom" in shown + out.out + out.err
    assert "sk-typed-in'" not in (shown + out.out + out.err).replace('typed_secret = "sk-typed-in"', "")
    assert "locals" not in shown + out.out + out.err
