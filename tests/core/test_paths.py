"""Where carboy's folders lie: one runtime folder for each state folder, short enough for sockets, and nobody else's."""

import os
import pwd
from pathlib import Path

import pytest

from app.client.start import ensure
from app.errors import CarboyError
from app.paths import Paths

OWN = Path(pwd.getpwuid(os.geteuid()).pw_dir)


@pytest.fixture(autouse=True)
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("CARBOY_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("app.paths.MAX_RUN_PATH", 200)  # the temp folder of a test is longer than the usual one
    return tmp_path


def at_home(home: str, monkeypatch: pytest.MonkeyPatch, **more: str) -> Paths:
    monkeypatch.setenv("HOME", home)
    return Paths.resolve(dict(more))


def test_two_homes_of_one_user_have_two_controllers(temp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = at_home(str(OWN), monkeypatch)
    assert own.run == temp / f"carboy-{os.geteuid()}", "the account's own keeps its place"
    runs = {at_home(home, monkeypatch).run for home in (str(OWN), "/srv/one", "/srv/two")}
    runs.add(at_home(str(OWN), monkeypatch, XDG_STATE_HOME="/srv/state").run)
    assert len(runs) == 4
    assert {run.parent for run in runs} == {temp}, "no folder that another user could own is between"
    assert at_home("/srv/one", monkeypatch).run == at_home("/srv/one", monkeypatch).run


def test_a_runtime_folder_in_which_others_may_put_another_in_its_place_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`su` keeps the variable: whoever owns that folder swaps ours for theirs between the look at it and the dialling,
    and is sent a launch with its secrets."""
    given = tmp_path / "given"
    given.mkdir(mode=0o700)
    given.chmod(0o777)
    assert at_home("/srv/one", monkeypatch, XDG_RUNTIME_DIR=str(given)).run.parent != given
    given.chmod(0o700)
    assert at_home("/srv/one", monkeypatch, XDG_RUNTIME_DIR=str(given)).run.parent == given
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert at_home("/srv/one", monkeypatch, XDG_RUNTIME_DIR=str(given)).run.parent != given


def test_the_systems_own_runtime_folder_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert at_home("/srv/one", monkeypatch, XDG_RUNTIME_DIR=str(tmp_path)).run == tmp_path / "carboy"


def test_a_path_too_long_for_sockets_has_a_stand_in(temp: Path) -> None:
    run = Paths.resolve({"CARBOY_HOME": "/" + "long/" * 60}).run
    assert run.parent == temp
    assert run != Paths.resolve({"CARBOY_HOME": "/" + "long/" * 60 + "x"}).run


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder away")
async def test_nothing_is_sent_to_a_controller_in_another_users_folder(temp: Path, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "config", tmp_path / "state", temp / "carboy-theirs")
    paths.run.mkdir()
    os.chown(paths.run, 65534, 65534)
    with pytest.raises(CarboyError, match="belongs to another user"):
        await ensure(paths, start=False)
