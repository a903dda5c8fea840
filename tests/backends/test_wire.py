"""What goes to a session holder comes back equal, and nothing else is taken."""

import json
from pathlib import Path

import pytest

from app.backends.base import BoxSpec, Command, FileIn, Mount
from app.backends.local import wire
from app.core.schema import Limits, Mask

SPEC = BoxSpec(
    slug="s",
    session_id="1",
    state=Path("/state/ü"),
    run=Path("/run/x"),
    project=Path("/my prøject"),
    project_writable=False,
    mounts=(Mount(Path("/a"), "/b"),),
    files=(FileIn("/etc/x", bytes(range(256)), 0o600),),
    env={"A": "1"},
    limits=Limits(memory=2**25, cpus=0.5),
    masks=(Mask(path="x", mode="read-only"),),
    engine="nsbox",
)
COMMAND = Command(("sh", "-c", "x y"), "/p", {"B": "ü"}, 30, 90, tty=False)


def test_round_trips() -> None:
    assert wire.spec_from_json(json.loads(json.dumps(wire.spec_to_json(SPEC)))) == SPEC
    assert wire.command_from_json(json.loads(json.dumps(wire.command_to_json(COMMAND)))) == COMMAND


@pytest.mark.parametrize("change", [{"mounts": [["a"]]}, {"limits": {"nope": 1}}, {"files": [["/x", "***", 1]]}])
def test_nonsense_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        wire.spec_from_json({**wire.spec_to_json(SPEC), **change})
    with pytest.raises(ValueError):
        wire.command_from_json({**wire.command_to_json(COMMAND), "argv": []})
