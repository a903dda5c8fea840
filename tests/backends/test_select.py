"""Which backend a launch takes."""

from pathlib import Path

import pytest

from app.backends import select
from app.backends.base import Backend, Box, BoxSpec, Progress
from app.backends.docker.backend import DockerBackend
from app.backends.local.backend import LocalBackend
from app.core.model import BackendReport, Isolation
from app.errors import NotFound


class Fake(Backend):
    """A backend that reports what it is told: the real ones are probed elsewhere."""

    def __init__(self, name: str, isolation: Isolation, works: bool) -> None:
        self.name, self.isolation, self.works, self.asked = name, isolation, works, 0
        self.uses_images = isolation != "process"

    async def probe(self) -> BackendReport:
        self.asked += 1
        reason, fix = ("", "") if self.works else ("not here", f"install {self.name}")
        return BackendReport(name=self.name, works=self.works, isolation=self.isolation, reason=reason, fix=fix)

    def plan(self, spec: BoxSpec) -> list[str]:
        return []

    async def create(self, spec: BoxSpec, progress: Progress = lambda _: None) -> Box:
        raise NotImplementedError

    async def adopt(self, slug: str, session_id: str, state: Path, run: Path) -> Box | None:
        return None

    async def cleanup(self, live: frozenset[str]) -> list[str]:
        return []


def backends(local: bool = True, docker: bool = True, vm: bool = True) -> list[Backend]:
    return [Fake("local", "process", local), Fake("docker", "container", docker), Fake("microvm", "vm", vm)]


async def test_auto_takes_the_first_that_works_and_says_what_it_tried() -> None:
    chosen = await select.choose(backends(local=False), "auto", None)
    assert chosen.backend.name == "docker"
    assert [(report.name, report.works) for report in chosen.tried] == [("local", False), ("docker", True)]


async def test_auto_takes_the_weakest_that_is_strong_enough() -> None:
    assert (await select.choose(backends(), None, "container")).backend.name == "docker"
    assert (await select.choose(list(reversed(backends())), None, "container")).backend.name == "docker"
    assert (await select.choose(backends(docker=False), None, "container")).backend.name == "microvm"


async def test_a_named_backend_is_never_replaced() -> None:
    made = backends(local=False)
    with pytest.raises(select.NoBackend) as refused:
        await select.choose(made, "local", None)
    assert "not here" in refused.value.message
    assert refused.value.hint == "install local"
    assert [report.name for report in refused.value.tried] == ["local"]
    assert [backend.asked for backend in made if isinstance(backend, Fake)] == [1, 0, 0]


async def test_a_named_backend_that_is_too_weak_is_refused_untried() -> None:
    made = backends()
    with pytest.raises(select.NoBackend, match="isolates by process"):
        await select.choose(made, "local", "vm")
    assert all(backend.asked == 0 for backend in made if isinstance(backend, Fake))


async def test_who_names_a_runtime_is_given_no_sandbox_without_one() -> None:
    assert (await select.choose(backends(), "auto", None, "runsc")).backend.name == "docker"
    with pytest.raises(select.NoBackend, match=r"container runtimes \(runsc\) works here: docker: not here; microvm"):
        await select.choose(backends(docker=False, vm=False), None, None, "runsc")
    local = (await select.choose(backends(), "local", None, "runsc")).backend
    problem = local.runtime_problem("runsc")
    assert problem is not None
    assert "cannot run under runsc" in problem.message
    assert local.runtime_problem(None) is None


async def test_none_works_and_unknown_names() -> None:
    with pytest.raises(select.NoBackend) as refused:
        await select.choose(backends(False, False, False), "auto", None)
    assert len(refused.value.tried) == 3
    with pytest.raises(NotFound):
        await select.choose(backends(), "dokcer", None)
    with pytest.raises(select.NoBackend):
        await select.choose([Fake("local", "process", True)], "auto", "vm")


def test_the_names_are_those_of_the_backends_that_there_are() -> None:
    assert (LocalBackend.name, DockerBackend.name) == select.NAMES
