"""docs/errors.md and docs/cli.md against the code: every code and option is there, and nothing that is gone."""

import ast
import re
from pathlib import Path

import click

from app.cli import cli
from sidecar.egress.refusal import CODES

ROOT = Path(__file__).parents[2]
ERRORS = {"CarboyError", "ConfigError", "Refused", "NotSupported", "NotFound"}
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


def test_every_route_of_the_api_is_documented() -> None:
    from app.controller import api, operator_api, proposal_api, streams

    text = (ROOT / "docs" / "architecture.md").read_text().split("## Controller API")[1].split("\n## ")[0]
    places = {
        re.sub(r"\?.*", "", place) for place in re.findall(r"`(?:(?:GET|POST|DELETE|WS)[`, ]*)*(/v1/[^`]*)`", text)
    }
    named = {re.sub(r"\{[^}]*\}", "{}", place) for place in places}
    for route in (*api.ROUTES, *proposal_api.ROUTES, *operator_api.ROUTES, *streams.ROUTES):
        assert re.sub(r"\{[^}]*\}", "{}", route.path) in named, route.path


def test_every_op_of_the_session_holder_is_documented() -> None:
    from app.processes.holder import Holder

    text = (ROOT / "docs" / "architecture.md").read_text().split("## Session holder protocol")[1].split("\n## ")[0]
    for op in Holder()._ops:
        assert re.search(rf"^\|[^|]*`{op}`", text, re.MULTILINE), op
