"""The demo's checks can fail, and its manifests are ones that carboy reads."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.core.model import LaunchStep
from app.demo import story, tour
from app.demo.home import KEY_NAME, PROJECT, demo_home


def event(line: story.Expected, **change: object) -> dict[str, object]:
    return {
        "host": line.host,
        "method": line.method,
        "path": line.path,
        "decision": line.decision,
        "code": line.code,
        "phase": "closed",
        **change,
    }


def test_the_whole_story_holds() -> None:
    events = [event(line, path=f"{line.path}?x=1") for line in story.STORY]
    assert all(finding.ok for finding in story.requests(events))


@pytest.mark.parametrize("index", range(len(story.STORY)))
@pytest.mark.parametrize(
    "change", [{"decision": "error"}, {"code": "internal_error"}, {"phase": "open"}, {"path": "/"}]
)
def test_each_line_can_fail(index: int, change: dict[str, object]) -> None:
    events = [event(line, **(change if place == index else {})) for place, line in enumerate(story.STORY)]
    findings = story.requests(events)
    assert [finding.ok for finding in findings].count(False) == 1
    assert not findings[index].ok


@pytest.mark.parametrize(
    ("sent", "inside", "held"),
    [
        (["real"], "text", (True, True)),
        ([], "text", (False, True)),
        (["real", "placeholder"], "text", (False, True)),
        (["real"], "shows real here", (True, False)),
        (["real"], "", (True, False)),
    ],
)
def test_the_key(sent: list[str], inside: str, held: tuple[bool, bool]) -> None:
    assert tuple(finding.ok for finding in story.key(sent, "real", inside)) == held


@pytest.mark.parametrize("terminal", [True, False])
def test_the_step_that_takes_a_while_is_told_on_a_terminal(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    for name, state, ms, detail in (
        ("key", "running", None, ""),
        ("sidecar", "running", None, "compiling"),
        ("sidecar", "done", 14_000.0, ""),
    ):
        step = {"session_id": "s", "slug": "demo", "step": name, "state": state, "ms": ms, "detail": detail}
        tour._say_step(LaunchStep.model_validate(step))
    said = "  key…\r  sidecar: compiling\n" * terminal
    assert capsys.readouterr().err == said + "  sidecar 14000 ms\n"


def test_the_home_is_private_and_gone_afterwards() -> None:
    with demo_home() as home:
        home.write(4433, "-----BEGIN CERTIFICATE-----\n")
        root = home.root.parent
        assert root.stat().st_mode & 0o077 == 0
        texts = "".join(path.read_text() for path in root.rglob("*") if path.is_file())
        assert home.key.reveal() not in texts
        assert KEY_NAME in texts
        assert (home.project / "agent.sh").is_file()
    assert not root.exists()


def test_the_agent_says_in_one_line_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "dirname").symlink_to("/usr/bin/dirname")
    ran = subprocess.run(
        ["/bin/sh", PROJECT / "agent.sh", "--once"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 127
    assert ran.stderr.count("\n") == 1
    assert "curl or python3" in ran.stderr


@pytest.mark.parametrize("tool", ["curl", "python3"])
def test_without_a_wall_the_agent_reports_failures(tmp_path: Path, tool: str) -> None:
    # nobody listens on the proxy's port: whatever should have been allowed fails, and the exit code says so
    for name in ("dirname", "sleep", "id", "cat", "hostname", tool):
        found = subprocess.run(["which", name], capture_output=True, text=True, check=False).stdout.strip()
        if name == tool and not found:
            pytest.skip(f"there is no {tool} here")
        if found:
            (tmp_path / name).symlink_to(found)
    proxy = "http://127.0.0.1:9"
    env = {
        "PATH": str(tmp_path),
        "HTTPS_PROXY": proxy,
        "https_proxy": proxy,
        "http_proxy": proxy,
        "HOME": str(tmp_path),
    }
    ran = subprocess.run(
        ["/bin/sh", PROJECT / "agent.sh", "--once"], env=env, capture_output=True, text=True, check=False, timeout=100
    )
    assert ran.returncode == 1
    assert "expected 200" in ran.stdout
    assert "no turn from the model" in ran.stdout
