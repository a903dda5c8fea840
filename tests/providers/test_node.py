"""A node that is new enough is found wherever version managers keep it; shims and old ones are passed over."""

import os
import shutil
from pathlib import Path

import pytest

from app.errors import CarboyError
from app.providers import node

REAL = shutil.which("node")
ELF = b"\x7fELF" + b"\0" * 60


def program(path: Path, content: bytes = ELF) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def environ(home: Path, *path: Path) -> dict[str, str]:
    return {"HOME": str(home), "PATH": os.pathsep.join(map(str, path)), "CARBOY_HOME": str(home / "carboy")}


def test_path_comes_first_then_the_newest_that_is_kept(tmp_path: Path) -> None:
    kept = [program(tmp_path / f".nvm/versions/node/v{version}/bin/node") for version in ("9.1.0", "22.20.0", "22.3.0")]
    own = program(tmp_path / "carboy/state/npm/bin/node")
    found = list(node.candidates(environ(tmp_path, tmp_path / "bin", Path("relative"))))
    assert found[0] == tmp_path / "bin/node"
    assert found[1:4] == [kept[1], kept[2], kept[0]]
    assert own in found
    assert node.find(environ(tmp_path), ()) == kept[1]


def test_shims_are_no_node(tmp_path: Path) -> None:
    program(tmp_path / "a/node", b"#!/bin/sh\nexec true\n")
    shim = program(tmp_path / "volta-shim")
    (tmp_path / "b").mkdir()
    (tmp_path / "b/node").symlink_to(shim)
    real = program(tmp_path / "c/node")
    assert node.find(environ(tmp_path, tmp_path / "a", tmp_path / "b", tmp_path / "c"), ()) == real


@pytest.mark.skipif(REAL is None, reason="node is not installed")
def test_too_old_ones_are_named(tmp_path: Path) -> None:
    assert REAL is not None
    folder = Path(REAL).parent
    found = node.version(Path(REAL), dict(os.environ))
    assert node.find(environ(tmp_path, folder), node.numbers(found)) == Path(os.path.realpath(REAL))
    with pytest.raises(CarboyError) as caught:
        node.find(environ(tmp_path, folder), (999,))
    assert found in caught.value.message
    assert "node 999 or newer is needed" in caught.value.message
    assert str(tmp_path / "carboy/state/npm") in caught.value.hint


def test_versions_compare_as_numbers() -> None:
    assert node.numbers("v22.19.0") > node.numbers("22.9.1") > node.numbers("no version")
