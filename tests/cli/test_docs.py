"""docs/errors.md and docs/cli.md against the code: every code and option is there, and nothing that is gone."""

import ast
import re
from pathlib import Path
from typing import Any, cast

import click

from app.cli import cli
from app.controller.server import Server
from sidecar.egress.refusal import CODES

ROOT = Path(__file__).parents[2]
ERRORS = {"CarboyError", "ConfigError", "Refused", "NotSupported", "NotFound"}
ACTIONS = ("stop", "kill", "freeze", "thaw", "restart-sidecar")
NOTICES = {"notice", "_notice", "_notice_counted"}
DEFAULTS = {"error", "config", "refused", "not_supported", "not_found"}


def table(section: str) -> set[str]:
    text = (ROOT / "docs" / "errors.md").read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE))


def raised() -> dict[str, str]:
    """Every error code written in the source, and where."""
    found = dict.fromkeys(DEFAULTS, "app/errors.py")
    for path in sorted([*(ROOT / "app").rglob("*.py"), *(ROOT / "sidecar").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            given = [keyword.value for keyword in node.keywords if keyword.arg == "code"] + node.args[2:3]
            if name in ERRORS and given and isinstance(given[0], ast.Constant):
                found[str(given[0].value)] = str(path.relative_to(ROOT))
    return found


def test_every_error_code_is_documented() -> None:
    missing = {code: place for code, place in raised().items() if code not in table("Errors")}
    assert not missing


def test_no_error_code_is_documented_that_nobody_raises() -> None:
    assert table("Errors") - set(raised()) == set()


def test_decision_codes() -> None:
    assert table("Decisions") == CODES | {"ok"}


def test_every_command_and_option_is_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    context = click.Context(cli)
    for name in cli.list_commands(context):
        assert f"### `carboy {name}" in text, name
        section = text.split(f"### `carboy {name}")[1].split("\n### ")[0]
        command = cli.get_command(context, name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert any(f"`{option}" in section for option in parameter.opts), (name, parameter.opts)


def test_the_notices_of_a_log() -> None:
    said = set()
    for path in [*(ROOT / "app").rglob("*.py"), *(ROOT / "sidecar").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in NOTICES:
                given = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
                said |= {text for text in given if re.fullmatch("[a-z]+_[a-z_]+", str(text))}
            if isinstance(node, ast.Dict):
                told = {
                    getattr(key, "value", ""): getattr(value, "value", "")
                    for key, value in zip(node.keys, node.values, strict=True)
                }
                said |= {told["code"]} - {""} if told.get("kind") == "notice" else set()
    assert len(said) > 9
    assert table("Notices") == said


def documented_routes() -> set[tuple[str, str]]:
    """Method and path of each route in the API's table, in whatever column."""
    found: set[tuple[str, str]] = set()
    section = (ROOT / "docs" / "architecture.md").read_text().split("## Controller API")[1].split("\n## ")[0]
    for row in re.findall(r"^\|.*", section, re.MULTILINE):
        waiting: list[str] = []
        for method, path in re.findall(r"`(?:(GET|POST|DELETE|WS)\b ?)?((?:/v1|…)/[^`]*)?`", row):
            waiting += [method] if method else []
            if path:
                place = path.replace("…", "/v1/bottles/{slug}").partition("?")[0]
                alike = re.search(r"\{([a-z-]+,[a-z,-]+)\}", place)
                names = alike[1].split(",") if alike else [""]
                found |= {
                    (each, unnamed(place.replace(alike[0] if alike else "", name)))
                    for each in waiting
                    for name in names
                }
                waiting = []
    return found


def unnamed(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def test_every_route_of_the_api_is_documented(tmp_path: Path) -> None:
    served: set[tuple[str, str]] = set()
    for route in Server(cast("Any", None), tmp_path / "socket")._app.router.routes():
        resource = route.resource
        assert resource is not None
        method = "WS" if resource.canonical in ("/v1/events", "/v1/bottles/{slug}/terminal") else route.method
        actions = ACTIONS if resource.canonical.endswith("/{action}") else [""]
        served |= {(method, unnamed(resource.canonical.replace("{action}", name))) for name in actions}
    assert documented_routes() == {each for each in served if each[0] != "HEAD"}


def test_every_file_of_the_source_that_is_named_is_there() -> None:
    """Whole paths, and those that count from the folder of the part a page is about."""
    there = [f"/{path.relative_to(ROOT)}" for top in ("app", "sidecar", "tests") for path in (ROOT / top).rglob("*")]
    gone: list[str] = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for place in re.findall(r"`([a-z_0-9/]+\.py)\b[^`]*`", page.read_text()):
            if place != "carboy_parrot.py" and not any(each.endswith(f"/{place}") for each in there):
                gone.append(f"{page.name}: {place}")
    assert gone == []


def test_every_op_of_the_session_holder_is_documented() -> None:
    from app.processes.holder import Holder

    text = (ROOT / "docs" / "architecture.md").read_text().split("## Session holder protocol")[1].split("\n## ")[0]
    for op in Holder()._ops:
        assert re.search(rf"^\|[^|]*`{op}`", text, re.MULTILINE), op
