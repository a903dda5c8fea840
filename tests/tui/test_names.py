"""Our widgets and screens must not override a private part of Textual by accident: it breaks in ways nobody expects."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest
from textual.dom import DOMNode

ROOT = Path(__file__).parents[2]
FILES = [
    ROOT / "app/carboy.py",
    *sorted((ROOT / "app/screens").rglob("*.py")),
    *sorted((ROOT / "app/widgets").glob("*.py")),
]
MEANT = {"_on_key", "_on_mount", "_fatal_error", "_notifications", "_on_resize"}


def _private(node: ast.ClassDef) -> set[str]:
    """Names like `_x` that a class defines or sets on itself."""
    names: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(part.name)
        elif isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
            names |= {part.attr} if isinstance(part.value, ast.Name) and part.value.id == "self" else set()
    return {name for name in names if name.startswith("_") and not name.startswith("__")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_name_of_textual_is_taken(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        cls = getattr(module, node.name, None) if isinstance(node, ast.ClassDef) else None
        if cls is None or not issubclass(cls, DOMNode):
            continue
        for base in cls.__mro__[1:]:
            if not base.__module__.startswith("textual"):
                continue
            tree = ast.parse(inspect.getsource(base).strip().replace("\n    ", "\n    "))
            theirs = _private(tree.body[0]) if isinstance(tree.body[0], ast.ClassDef) else set()
            assert not (_private(node) & theirs) - MEANT, f"{cls.__name__} hides names of {base.__name__}"  # type: ignore[arg-type]
