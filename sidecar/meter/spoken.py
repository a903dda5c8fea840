"""What was said in one call of a model, in numbers and names: for traces. Pure; keeps no text, decides nothing.

A request repeats the whole conversation: new in it is what stands behind the model's last words.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sidecar.meter.loads import Tree, items, tree
from sidecar.meter.usage import text_of

MOST_NEW = 200
"""Entries at a conversation's end that are looked at."""
MOST_TOOLS, MOST_NAME = 64, 64


@dataclass(frozen=True, slots=True)
class Brought:
    """What a request brought that the model had not read: characters of its user's message, and tools' results."""

    message: int = 0
    results: int = 0
    failed: int = 0


NOTHING = Brought()


def brought(body: Tree) -> Brought:
    """Of a request's body, whichever of the APIs it is for."""
    said = body.get("input")
    if isinstance(said, str):
        return Brought(message=len(said))
    message = results = failed = 0
    for entry in _new(items(said) or items(body.get("messages")) or items(body.get("contents"))):
        kind, role = text_of(entry.get("type")), text_of(entry.get("role"))
        if kind.endswith("_output") or role == "tool":
            results += 1
            continue
        message += _length(entry.get("content"))
        for part in map(tree, items(entry.get("content")) + items(entry.get("parts"))):
            if part.get("type") == "tool_result" or "functionResponse" in part:
                results += 1
                answer = tree(tree(part.get("functionResponse")).get("response"))
                failed += bool(part.get("is_error") is True or answer.get("error"))
            else:
                message += _length(part.get("text"))
    return Brought(message, results, failed)


def _new(entries: list[object]) -> Iterator[Tree]:
    """From the end back to the model's own last words. What instructs it is nobody's message."""
    for entry in map(tree, reversed(entries[-MOST_NEW:])):
        role, kind = text_of(entry.get("role")), text_of(entry.get("type"))
        if role in ("assistant", "model") or kind.endswith("_call") or kind == "reasoning":
            return
        if role not in ("system", "developer"):
            yield entry


def _length(text: object) -> int:
    return len(text) if isinstance(text, str) else 0


def tool_name(value: object) -> str:
    return text_of(value, MOST_NAME)
