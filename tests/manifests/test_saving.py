"""Decided routes in the bottle file: only what changes is written, comments stay, the result is a bottle."""

import stat
from pathlib import Path
from typing import Any

import pytest

from app.errors import CarboyError
from app.manifests.folders import read_bottle
from app.manifests.saving import prepare
from app.paths import Paths, private_folder
from sidecar.contract import Route

BASE = """---
# what all of them need
extends: []
egress:
    log: 1   # refusals
    routes:
      # the index
      - host: pypi.org   # read only
        matches:
          - methods: [GET, HEAD]
      - {host: files.example, ports: [443]}
env:
    A: 'quoted'   # stays quoted
---
Notes:  kept   as they are.

---
more
"""


@pytest.fixture
def folder(paths: Paths) -> Path:
    private_folder(paths.bottles)
    (paths.bottles / "base.md").write_text(BASE)
    (paths.bottles / "dev.md").write_text("---\nextends: base\n---\n")
    (paths.bottles / "ops.md").write_text("---\nextends: [base]\negress:\n  routes: []\n---\nx")
    return paths.bottles


def route(host: str, *paths: str, **more: Any) -> Route:
    return Route.model_validate({"host": host, "matches": [{"paths": [{"value": path}]} for path in paths], **more})


def save(paths: Paths, bottles: tuple[str, ...], *routes: Route, hosts: tuple[str, ...] = ()) -> Any:
    return prepare(paths, bottles, hosts or [item.host for item in routes], routes)


@pytest.mark.parametrize("name", ["dev", "ops"])
def test_a_new_host_goes_to_the_bottle_that_was_picked(paths: Paths, folder: Path, name: str) -> None:
    new = route("a.example", "/x: #y", auth={"token_ref": "T"})
    saving = save(paths, (name,), new)
    assert saving.file == folder / f"{name}.md"
    assert all(line[0] != "-" or "routes: []" in line for line in saving.diff)
    saving.write()
    read = read_bottle(paths, name)
    assert read is not None
    assert read.bottle.egress.routes == (new,)
    assert save(paths, (name,), new) is None


def test_comments_quotes_and_notes_stay(paths: Paths, folder: Path) -> None:
    saving = save(
        paths, ("dev",), route("pypi.org", "/simple"), route("files.example", ports=[443], git={"fetch": True})
    )
    assert saving.file == folder / "base.md"
    assert saving.used_by == ("ops",)
    saving.write()
    text = (folder / "base.md").read_text()
    comments = ("# what all of them need", "log: 1   # refusals", "# the index", "# read only")
    for kept in (*comments, "    A: 'quoted'   # stays", "Notes:  kept   as they are.\n\n---\nmore\n"):
        assert kept in text, kept
    assert "fetch: true" in text
    assert "methods" not in text
    removed = [line for line in saving.diff if line.startswith("-")]
    assert len(removed) <= 3, saving.diff


@pytest.mark.timeout(60)
def test_a_long_file_in_an_indentation_of_its_own_is_written(paths: Paths, folder: Path) -> None:
    """Each of forty styles was compared with it, every line with every other: that took minutes."""
    deep = "".join(
        f"            -     host: h{number}.example\n                  matches:\n"
        f"                        -     methods: [GET]\n                              paths: [{{value: /p{number}}}]\n"
        for number in range(150)
    )
    (folder / "dev.md").write_text(f"---\nextends: base\negress:\n      routes:\n{deep}---\n")
    saving = prepare(paths, ("dev",), {"new.example"}, (route("new.example", "/x"),))
    assert saving is not None
    assert b"host: new.example" in saving.new
    assert saving.new.count(b"host: h") == 150


def test_a_host_can_be_taken_out(paths: Paths, folder: Path) -> None:
    saving = save(paths, ("dev",), hosts=("files.example",))
    saving.write()
    read = read_bottle(paths, "base")
    assert read is not None
    assert [item.host for item in read.bottle.egress.routes] == ["pypi.org"]


def test_line_endings_and_mode_stay(paths: Paths, folder: Path) -> None:
    (folder / "dev.md").write_bytes(b"---\r\nextends: base\r\n---\r\nn\r\n")
    (folder / "dev.md").chmod(0o640)
    save(paths, ("dev",), route("a.example")).write()
    data = (folder / "dev.md").read_bytes()
    assert data.count(b"\n") == data.count(b"\r\n")
    assert data.endswith(b"---\r\nn\r\n")
    assert stat.S_IMODE((folder / "dev.md").stat().st_mode) == 0o640


def test_a_file_that_changed_meanwhile_is_left_alone(paths: Paths, folder: Path) -> None:
    saving = save(paths, ("dev",), route("a.example"))
    (folder / "dev.md").write_text("---\nextends: base\n---\nmine")
    with pytest.raises(CarboyError) as caught:
        saving.write()
    assert caught.value.code == "stale_view"
    assert (folder / "dev.md").read_text().endswith("mine")


def test_several_files_at_once_are_not_written(paths: Paths, folder: Path) -> None:
    with pytest.raises(CarboyError) as caught:
        save(paths, ("dev",), route("a.example"), route("pypi.org", "/x"))
    assert caught.value.code == "save_several"


def test_what_no_bottle_file_may_say_is_not_written(paths: Paths, folder: Path) -> None:
    before = (folder / "dev.md").read_bytes()
    with pytest.raises(CarboyError, match="many owners"):
        save(paths, ("dev",), route("*.github.io"))
    assert (folder / "dev.md").read_bytes() == before


@pytest.mark.parametrize(
    "header",
    [
        "egress: {routes: [{host: b.example}]}",
        "egress:\n  routes:\n  - host: b.example",
        "egress:\n  log: 0",
        "env: {A: b}",
        "egress:\n  routes:\n    - &x\n      host: b.example\n    - {<<: *x, host: c.example}",
    ],
)
def test_other_ways_to_write_it(paths: Paths, folder: Path, header: str) -> None:
    (folder / "odd.md").write_text(f"---\n{header}\n---\nbody\n")
    before = read_bottle(paths, "odd")
    save(paths, ("odd",), route("a.example", "/x")).write()
    after = read_bottle(paths, "odd")
    assert before is not None
    assert after is not None
    assert after.bottle.egress.routes == (*before.bottle.egress.routes, route("a.example", "/x"))
    assert after.notes == before.notes


@pytest.mark.parametrize("paths_as", ["[{value: /v1}]", "[value: /v1]", "[{value: /v1, type: exact}]"])
def test_lists_on_one_line_stay_as_they_are_written(paths: Paths, folder: Path, paths_as: str) -> None:
    """YAML has two ways to write a list of one short mapping; a line that nobody changed is not touched."""
    head = "---\negress:\n  routes:\n    - host: a.example\n      matches:\n"
    text = f"{head}        - paths: {paths_as}   # reading\n---\n"
    (folder / "flow.md").write_text(text)
    saving = save(paths, ("flow",), route("b.example", "/x"))
    assert not [line for line in saving.diff if line.startswith("-")], saving.diff
    assert saving.new.decode().startswith(text.removesuffix("---\n"))
