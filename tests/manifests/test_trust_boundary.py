"""Who may say what: the operator's folder, a project's folder, and what becomes of hostile ones."""

import os
import shutil
from pathlib import Path

import pytest

from app import manifests
from app.core.schema import Settings
from app.errors import CarboyError, ConfigError, NotFound, Refused
from app.manifests.folders import MAX_PROJECT_FILES, MAX_WARNINGS, list_home, read_project_agent
from app.paths import Paths


@pytest.fixture
def project(tmp_path: Path) -> Path:
    place = tmp_path / "my projéct"
    (place / ".carboy" / "agents").mkdir(parents=True)
    return place


def put(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.md"
    file.write_text(text)
    return file


def theirs(project: Path, name: str, text: str) -> Path:
    return put(project / ".carboy" / "agents", name, text)


def test_a_projects_agent_wins_and_is_shown_as_the_projects(paths: Paths, project: Path) -> None:
    put(paths.agents, "dev", "---\ndescription: mine\n---\nmine")
    put(paths.agents, "own", "mine")
    theirs(project, "dev", "---\ndescription: theirs\n---\ntheirs")
    alone = manifests.load_catalogue(paths, None)
    assert [(entry.name, entry.origin, entry.confirmed) for entry in alone.agents] == [
        ("dev", "home", True),
        ("own", "home", True),
    ]
    both = {entry.name: entry for entry in manifests.load_catalogue(paths, project).agents}
    assert (both["dev"].origin, both["dev"].description, both["dev"].confirmed) == ("project", "theirs", False)
    assert both["own"].origin == "home"


def test_it_is_confirmed_once_for_each_content(paths: Paths, project: Path) -> None:
    put(paths.bottles, "b", "---\n---\n")
    theirs(project, "dev", "---\nbottle: b\n---\nfirst")
    (wanted, text), *rest = manifests.unconfirmed(paths, "dev", project).items()
    assert not rest
    assert "agent dev" in text
    with pytest.raises(Refused, match="not confirmed yet"):
        resolve(paths, "dev", project, confirmed=())
    assert resolve(paths, "dev", project, confirmed=(wanted,)).agent_hash == wanted
    manifests.confirm(paths, wanted)
    assert manifests.unconfirmed(paths, "dev", project) == {}
    assert manifests.load_catalogue(paths, project).agents[0].confirmed
    assert resolve(paths, "dev", project, confirmed=()).agent_origin == "project"
    theirs(project, "dev", "---\nbottle: b\n---\nsecond")
    assert manifests.unconfirmed(paths, "dev", project).keys() != {wanted}
    with pytest.raises(Refused):
        resolve(paths, "dev", project, confirmed=(wanted,))


def test_confirmed_text_is_not_good_for_another_name(paths: Paths, project: Path) -> None:
    theirs(project, "harmless", "text")
    theirs(project, "developer", "text")
    manifests.confirm(paths, *manifests.unconfirmed(paths, "harmless", project))
    assert manifests.unconfirmed(paths, "developer", project)


def test_confirmations_lie_privately_in_the_state_folder(paths: Paths) -> None:
    manifests.confirm(paths, "a" * 64)
    manifests.confirm(paths, "a" * 64)
    folder = paths.state / "confirmed"
    assert (folder.stat().st_mode & 0o777, os.listdir(folder)) == (0o700, ["a" * 64])
    for bad in ("", "../x", "A" * 64, "a" * 63, "a" * 64 + "\n"):
        with pytest.raises(CarboyError, match="hash"):
            manifests.confirm(paths, bad)


def test_the_operators_own_agents_need_no_confirmation(paths: Paths, project: Path) -> None:
    put(paths.bottles, "b", "---\n---\n")
    put(paths.agents, "dev", "---\nbottle: b\n---\n")
    assert manifests.unconfirmed(paths, "dev", project) == {}
    assert manifests.unconfirmed(paths, None, project) == {}
    assert resolve(paths, "dev", project, confirmed=()).agent_origin == "home"


def test_a_projects_bottles_are_ignored_by_name(paths: Paths, project: Path) -> None:
    put(project / ".carboy" / "bottles", "wide", "---\negress: {routes: [{host: evil.com}]}\n---")
    catalogue = manifests.load_catalogue(paths, project)
    assert catalogue.bottles == ()
    assert any("wide.md" in warning and "ignored" in warning for warning in catalogue.warnings)
    theirs(project, "dev", "---\nbottle: wide\n---")
    with pytest.raises(ConfigError, match="no bottle named 'wide'"):
        resolve(paths, "dev", project)


def test_links_below_a_project_are_never_followed(paths: Paths, project: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the host's")
    agents = project / ".carboy" / "agents"
    (agents / "leak.md").symlink_to(secret)
    entry = manifests.load_catalogue(paths, project).agents[0]
    assert "symbolic link" in str(entry.error)
    with pytest.raises(ConfigError, match="symbolic link"):
        read_project_agent(project, "leak")
    for linked in (agents, agents.parent):
        shutil.rmtree(project / ".carboy")
        agents.mkdir(parents=True)
        elsewhere = tmp_path / f"elsewhere-{linked.name}"
        put(elsewhere if linked == agents else elsewhere / "agents", "leak", "the host's")
        shutil.rmtree(linked)
        linked.symlink_to(elsewhere)
        catalogue = manifests.load_catalogue(paths, project)
        assert catalogue.agents == ()
        assert any("symbolic link" in warning for warning in catalogue.warnings)
        with pytest.raises(ConfigError, match="symbolic link"):
            read_project_agent(project, "leak")


def test_pipes_devices_and_folders_do_not_hang_the_reader(paths: Paths, project: Path) -> None:
    agents = project / ".carboy" / "agents"
    os.mkfifo(agents / "pipe.md")
    (agents / "folder.md").mkdir()
    theirs(project, "fine", "hello")
    found = {entry.name: entry.error for entry in manifests.load_catalogue(paths, project).agents}
    assert found["fine"] is None
    assert "not a regular file" in str(found["pipe"])
    assert "not a regular file" in str(found["folder"])


def test_names_are_checked_and_the_reason_is_told(paths: Paths) -> None:
    for name in ("Good.md", "9lives.md", "a b.md", "no-end", "a" * 64 + ".md", "x\x1b[31m.md", "ok.md", ".hidden.md"):
        (paths.bottles.mkdir(parents=True, exist_ok=True), (paths.bottles / name).write_text("---\n---\n"))
    found = list_home(paths.bottles)
    assert found.names == ("ok",)
    assert len(found.warnings) == 6
    assert all(warning.isprintable() for warning in found.warnings)
    assert not any(".hidden" in warning for warning in found.warnings)


@pytest.mark.parametrize("name", ["../x", "a/b", "", "A", "x\n", "x\0y", "a" * 64, ".", "-a"])
def test_names_that_are_none_never_become_a_path(paths: Paths, project: Path, name: str) -> None:
    put(paths.config, "x", "outside")
    with pytest.raises(NotFound):
        resolve(paths, name, project)
    with pytest.raises(NotFound):
        manifests.resolve(paths, agent=None, bottles=[name], cwd=None, settings=Settings())
    with pytest.raises(NotFound):
        manifests.edit_target(paths, name)


def test_a_broken_file_hides_no_other(paths: Paths) -> None:
    put(paths.bottles, "good", "---\n---\n")
    put(paths.bottles, "bad", "---\nfoo: 1\n---\n")
    put(paths.bottles, "child", "---\nextends: bad\n---\n")
    put(paths.agents, "bad", "---\nfoo: 1\n---\n")
    put(paths.agents, "good", "---\nbottle: good\n---\n# Title\n\ntext")
    (paths.agents / "huge.md").write_bytes(b"x" * 10_000_000)
    (paths.agents / "binary.md").write_bytes(b"\xff\xfe\0\0")
    catalogue = manifests.load_catalogue(paths, None)
    bottles = {entry.name: entry.error for entry in catalogue.bottles}
    agents = {entry.name: entry.error for entry in catalogue.agents}
    assert bottles["good"] is None
    assert "unknown key 'foo'" in str(bottles["bad"])
    assert "child -> bad" in str(bottles["child"])
    assert agents["good"] is None
    assert all(agents[name] for name in ("bad", "huge", "binary"))
    assert catalogue.agents[2].description == "Title"
    assert resolve(paths, "good", None).bottle_names == ("good",)


def test_a_project_full_of_files_is_bounded(paths: Paths, project: Path) -> None:
    theirs(project, "long", "---\ndescription: " + "x" * 20_000 + "\n---")
    for number in range(MAX_PROJECT_FILES + 10):
        theirs(project, f"n{number}", "x")
        theirs(project, f"N{number}", "x")
    catalogue = manifests.load_catalogue(paths, project)
    assert len(catalogue.agents) == MAX_PROJECT_FILES
    assert "only the first" in catalogue.warnings[0]
    assert len(catalogue.warnings) == MAX_WARNINGS
    assert "larger than 16 KiB" in str(catalogue.agents[0].error)


@pytest.mark.usefixtures("permissions_hold")
def test_unreadable_files_and_folders(paths: Paths) -> None:
    put(paths.bottles, "closed", "---\n---\n").chmod(0)
    put(paths.agents, "a", "x")
    paths.agents.chmod(0)
    catalogue = manifests.load_catalogue(paths, None)
    paths.agents.chmod(0o700)
    assert "Permission denied" in str(catalogue.bottles[0].error)
    assert any("Permission denied" in warning for warning in catalogue.warnings)


# --- which folder may be a project ---------------------------------------------------------------------------------


def test_a_project_is_its_real_path(paths: Paths, project: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(project)
    assert manifests.check_project(paths, tmp_path / "link") == project.resolve()
    assert manifests.check_project(paths, project / "." / ".carboy" / "..") == project.resolve()


def test_projects_that_hold_or_lie_in_our_folders(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (paths.config, paths.state / "bottles" / "x", paths.run):
        folder.mkdir(parents=True)
        (tmp_path / f"to-{folder.name}").symlink_to(folder)
        with pytest.raises(Refused, match="lies in"):
            manifests.check_project(paths, folder)
        with pytest.raises(Refused, match="lies in"):
            manifests.check_project(paths, tmp_path / f"to-{folder.name}")
    for folder in (Path("/"), paths.config.parent):
        with pytest.raises(Refused, match="contains"):
            manifests.check_project(paths, folder)
    home = tmp_path / "people" / "me"
    (home / "work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for folder in (home, home.parent):
        with pytest.raises(Refused, match="your home folder"):
            manifests.check_project(paths, folder)
    assert manifests.check_project(paths, home / "work")


def test_projects_that_are_none(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "line\nbreak").mkdir()
    for name, error in (
        ("missing", NotFound),
        ("file", CarboyError),
        ("loop", CarboyError),
        ("line\nbreak", CarboyError),
    ):
        with pytest.raises(error) as caught:
            manifests.check_project(paths, tmp_path / name)
        assert caught.value.hint
        assert caught.value.message.isprintable()
    with pytest.raises(CarboyError, match="NUL"):
        manifests.check_project(paths, Path("/tmp/a\0b"))


@pytest.mark.usefixtures("permissions_hold")
def test_a_project_that_cannot_be_read(paths: Paths, project: Path) -> None:
    project.chmod(0)
    with pytest.raises(CarboyError, match="cannot be read"):
        manifests.check_project(paths, project)
    project.chmod(0o700)


def resolve(paths: Paths, agent: str | None, cwd: Path | None, **more: object):
    return manifests.resolve(paths, agent=agent, bottles=None, cwd=cwd, settings=Settings(), **more)  # type: ignore[arg-type]


def test_refused_files_leave_no_descriptor_open(paths: Paths, project: Path) -> None:
    agents = project / ".carboy" / "agents"
    os.mkfifo(agents / "pipe.md")
    (agents / "folder.md").mkdir()
    (agents / "big.md").write_bytes(b"x" * 2_000_000)
    (agents / "link.md").symlink_to("/etc/hostname")
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        manifests.load_catalogue(paths, project)
    assert len(os.listdir("/dev/fd")) == before
