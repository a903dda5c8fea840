"""Live reload against the real file system."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.controller.watcher import MAX_PROJECTS, Watcher
from app.core.model import Catalogue
from app.paths import Paths
from tests.conftest import until


@pytest.fixture
async def seen(paths: Paths) -> AsyncIterator[tuple[Watcher, list[Catalogue]]]:
    found: list[Catalogue] = []
    watcher = Watcher(paths, found.append)
    await watcher.start()
    yield watcher, found
    await watcher.stop()


def write(folder: Path, name: str, text: str = "---\n---\n") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def names(found: list[Catalogue]) -> set[str]:
    return {entry.name for entry in found[-1].bottles} if found else set()


async def test_tells_of_new_changed_and_removed_files(seen: tuple[Watcher, list[Catalogue]], paths: Paths) -> None:
    _, found = seen
    write(paths.bottles, "base.md")
    await until(lambda: names(found) == {"base"})
    write(paths.bottles, "base.md", "---\nsupervice: true\n---\n")
    await until(lambda: found[-1].bottles[0].error)
    (paths.bottles / "base.md").unlink()
    await until(lambda: names(found) == set())


async def test_survives_the_folder_being_deleted_and_made_again(
    seen: tuple[Watcher, list[Catalogue]], paths: Paths
) -> None:
    _, found = seen
    write(paths.bottles, "base.md")
    await until(lambda: names(found) == {"base"})
    shutil.rmtree(paths.config)
    await until(lambda: names(found) == set())
    write(paths.bottles, "again.md")
    await until(lambda: names(found) == {"again"})


async def test_a_replaced_folder_is_seen(seen: tuple[Watcher, list[Catalogue]], paths: Paths, tmp_path: Path) -> None:
    _, found = seen
    write(paths.bottles, "base.md")
    await until(lambda: names(found) == {"base"})
    write(tmp_path / "other", "new.md")
    paths.bottles.rename(tmp_path / "old")
    shutil.copytree(tmp_path / "other", paths.bottles)
    await until(lambda: names(found) == {"new"})


async def test_a_project_added_while_running(seen: tuple[Watcher, list[Catalogue]], tmp_path: Path) -> None:
    watcher, found = seen
    await watcher.add_project(tmp_path)
    assert not found
    write(tmp_path / ".carboy" / "agents", "helper.md", "hello")
    await until(lambda: found)
    before = len(found)
    write(tmp_path / ".carboy" / "agents", "helper.md", "hello, you")
    await until(lambda: len(found) > before)


async def test_settings_count_as_well(seen: tuple[Watcher, list[Catalogue]], paths: Paths) -> None:
    _, found = seen
    paths.settings.write_text("theme: light\n")
    await until(lambda: found)


async def test_a_callback_that_fails_does_not_end_the_watching(paths: Paths) -> None:
    calls: list[int] = []

    def broken(catalogue: Catalogue) -> None:
        calls.append(len(catalogue.bottles))
        raise RuntimeError("nobody listens")

    watcher = Watcher(paths, broken)
    await watcher.start()
    write(paths.bottles, "a.md")
    await until(lambda: calls[-1:] == [1])
    write(paths.bottles, "b.md")
    await until(lambda: calls[-1:] == [2])
    await watcher.stop()


async def test_what_cannot_be_a_project_is_left_alone_and_their_number_is_bounded(
    seen: tuple[Watcher, list[Catalogue]], tmp_path: Path
) -> None:
    watcher, _ = seen
    await watcher.add_project(Path("/"))
    await watcher.add_project(tmp_path / "missing")
    for index in range(MAX_PROJECTS + 3):
        (tmp_path / str(index)).mkdir()
        await watcher.add_project(tmp_path / str(index))
    assert len(watcher.projects) == MAX_PROJECTS
    assert watcher.projects[-1] == tmp_path / str(MAX_PROJECTS + 2)


async def test_stops_at_once_and_can_be_stopped_without_a_start(paths: Paths) -> None:
    await Watcher(paths, lambda _: None).stop()
    watcher = Watcher(paths, lambda _: None)
    await watcher.start()
    await watcher.stop()
    await watcher.stop()
