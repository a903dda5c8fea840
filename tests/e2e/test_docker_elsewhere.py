"""An engine whose containers are not this host's processes, and which does not see this host's folders, as one of
another host behind a forwarded socket: it is refused with the reason, and nothing of this host is entered in its place.
One that sees them is `test_docker_carried`'s."""

import tempfile
from collections.abc import Iterator

import pytest

from app.errors import CarboyError
from app.paths import Paths
from tests.e2e.docker_engine import engine
from tests.integration.launching import rig

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.xdist_group("docker")]


FOLDER = "/var/tmp"


@pytest.fixture
def url() -> Iterator[str]:
    with engine("docker", apart=True, without=FOLDER) as found:
        yield found


async def test_it_is_refused_before_a_launch(url: str, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", url)
    monkeypatch.setattr(tempfile, "tempdir", FOLDER)
    async with rig(paths) as bottles:
        plan = await bottles.sessions.preflight(bottles.request("true", backend="docker"))
        assert any("do not run on this host's kernel" in problem for problem in plan.problems)
        with pytest.raises(CarboyError, match="another host") as refused:
            await bottles.launch("true", backend="docker")
        assert "local backend" in refused.value.hint
        report = next(one for one in await bottles.sessions.reports() if one.name == "docker")
        assert not report.works
        assert "virtual machine" in report.reason
