"""How a running bottle gets its name. Pure; randomness is handed in."""

import re
import unicodedata
from collections.abc import Callable

from app.errors import NotFound

SLUG_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
MAX = 63
_LEGAL = re.compile(SLUG_PATTERN)


def slugify(text: str) -> str:
    """`text` as a slug: lower-case letters, digits and single hyphens; empty where nothing of it can be kept."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:MAX].rstrip("-")


def numbered(base: str, taken: Callable[[str], bool]) -> str:
    """`base`, or the first free one of `base-2`, `base-3` …"""
    candidate, number = base, 1
    while taken(candidate):
        number += 1
        suffix = f"-{number}"
        candidate = base[: MAX - len(suffix)].rstrip("-") + suffix
    return candidate


def with_suffix(base: str, suffix: str) -> str:
    return f"{base[: MAX - len(suffix) - 1].rstrip('-')}-{suffix}"


def legal(slug: str) -> bool:
    return _LEGAL.fullmatch(slug) is not None


def checked(slug: str) -> str:
    """`slug`, where a bottle can have that name; raises NotFound where none can."""
    if not legal(slug):
        raise NotFound("No bottle can have that name", "Names are lower-case letters, digits and hyphens", "bad_name")
    return slug
