"""What the operator has chosen so far for a launch, and what can be said of it before the controller is asked. Pure:
each step of the flow returns a changed copy, so going back keeps everything and can break nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field

from app.core.text import printable

AUTO = "auto"
"""The backend that the controller chooses."""
ANY_COMMAND = "$"
STARTERS = "+"
"""Picked instead of an agent: a command of the user's own; the starter library."""
"""The agent picker's id for "any command": no agent file can have this name."""


@dataclass(frozen=True)
class Draft:
    """`bottles` is None until the operator changed the agent's default."""

    cwd: str
    agent: str | None = None
    command: tuple[str, ...] = ()
    bottles: tuple[str, ...] | None = None
    default_bottles: tuple[str, ...] = ()
    prompt: str = ""
    label: str = ""
    color: str = ""
    model: str = ""
    backend: str = ""
    budget: str = ""
    """Amount for this launch, as people write it; empty for none of its own."""
    shutdown: str = "ask"
    """What a used up budget does; empty leaves it to the files."""
    unattended: str = ""
    """What it does while nobody answers; empty leaves it to the files."""
    confirmed: frozenset[str] = field(default_factory=frozenset[str])

    @property
    def chosen(self) -> tuple[str, ...]:
        """The bottles of this launch, in order."""
        return self.default_bottles if self.bottles is None else self.bottles

    @property
    def what(self) -> str:
        """The agent's name, or the command."""
        return printable(self.agent or " ".join(self.command) or "nothing yet", 80)


def slug(label: str) -> str:
    """The unique name that a label becomes: lower case, hyphens, at most 63 characters. Empty where nothing is left."""
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:63].rstrip("-")


def label_problem(label: str, taken: Collection[str]) -> str:
    """Why this name cannot be used, or an empty string. An empty label is the controller's to fill."""
    if not label.strip():
        return ""
    name = slug(label)
    if not name:
        return "A name needs a letter or a digit"
    if name in taken:
        return f"{name} is in use: choose another name, {free(name, taken)} for one"
    return ""


def free(name: str, taken: Collection[str]) -> str:
    """The first of `name-2`, `name-3` … that nobody has."""
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"


def toggled(order: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Take a bottle in at the end, or out."""
    return tuple(item for item in order if item != name) if name in order else (*order, name)


def moved(order: tuple[str, ...], index: int, by: int) -> tuple[tuple[str, ...], int]:
    """The order with one bottle moved, and where it is now; the ends hold it."""
    target = min(max(0, index + by), len(order) - 1)
    if not 0 <= index < len(order) or target == index:
        return order, index
    changed = list(order)
    changed.insert(target, changed.pop(index))
    return tuple(changed), target
