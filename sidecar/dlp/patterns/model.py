"""The shape of one credential type, and the collection of all of them. Pure data: no matcher in it.

Rules for a type's `regex`: what `re`, RE2 and hyperscan all understand (no lookaround, no back-reference, no `\\b`,
no anchors, no possessive or lazy quantifier), every quantifier bounded, ASCII only, `(?i)` only at its start.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from sidecar.dlp.matcher import Place

KEYWORD_REACH = 80
"""A keyword counts when it ends at most this many characters before the value: one long assignment or sentence."""

Boundary = Literal["both", "left", "right", "none"]


@dataclass(frozen=True)
class CredentialType:
    """One kind of credential of one vendor.

    `regex` matches the value and nothing around it. `boundary` says on which sides no letter, digit or underscore may
    touch it; the engine adds that (also where a JSON escape such as `\\n` stands before the value). With `keywords`
    (lower-case letters, digits, `_`, `-`, `.`; compared without case) the value counts only when one of them stands
    within `KEYWORD_REACH` characters before it. `check` decides on the matched text: a checksum or a structure; None
    means that the shape is enough. `prefix` is how many leading characters are the vendor's constant ones and may be
    shown. `positives` and `negatives` are whole texts that must and must not give a match of this type; they are made
    by us and put together from pieces, so that no scanner takes them for real. `documented` are values that the vendor
    itself prints as examples. `place` is where to look for an expression without any literal (`places`).
    """

    id: str
    vendor: str
    title: str
    regex: str
    keywords: tuple[str, ...] = ()
    check: Callable[[str], bool] | None = None
    positives: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    documented: tuple[str, ...] = ()
    boundary: Boundary = "both"
    prefix: int = 0
    place: Place | None = None


@cache
def all_types() -> tuple[CredentialType, ...]:
    """Every type that a module in `vendors` exports as `TYPES`, in order of module and place; ids are unique."""
    from sidecar.dlp.patterns import vendors

    found: dict[str, CredentialType] = {}
    for module in sorted(pkgutil.iter_modules(vendors.__path__), key=lambda each: each.name):
        loaded = importlib.import_module(f"{vendors.__name__}.{module.name}")
        for each in getattr(loaded, "TYPES", ()):
            if each.id in found:
                raise ValueError(f"two credential types are called {each.id}")
            found[each.id] = each
    return tuple(found.values())
