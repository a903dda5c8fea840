"""The house rules that a machine can check: sizes, one way to start tasks, a docstring for each module.

Directions of imports are held by import-linter (`make lint`, contracts in pyproject.toml).
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for room in ("app", "sidecar") for path in (ROOT / room).rglob("*.py"))
MAX_FILE, MAX_FUNCTION = 500, 60


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 30


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_house_rules(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < MAX_FILE, "one concern a file"
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module says what it owns"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{node.name} has {length} lines"


def loaded_by(statement: str) -> set[str]:
    """Top-level names in sys.modules after `statement` ran in a fresh interpreter."""
    code = f"{statement}\nimport sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import app.cli", {"textual", "mitmproxy", "docker", "keyring", "watchfiles", "aiohttp"}),
        ("import app.client, app.cli.bottles", {"textual", "mitmproxy", "docker", "keyring", "watchfiles", "numpy"}),
        ("import app.carboy", {"mitmproxy", "docker", "keyring", "watchfiles", "aiohttp", "pydantic"}),
        ("import app.controller.main, app.controller.server", {"textual", "mitmproxy", "docker"}),
        ("import sidecar.__main__", {"app", "textual", "docker", "keyring"}),
    ],
)
def test_nothing_heavy_is_imported_on_the_way(statement: str, forbidden: set[str]) -> None:
    assert not loaded_by(statement) & forbidden
