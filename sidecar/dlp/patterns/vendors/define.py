"""How the modules beside this one write down a credential type, and how its test strings are put together. Pure.

Test strings are made here from templates, the same ones on every run: no real key was ever in them, and the source
holds no whole token that a scanner would flag. Nothing here reads a file, a clock or a random source.
"""

import hashlib
import re
from collections.abc import Callable
from functools import partial

from sidecar.dlp.matcher import Place
from sidecar.dlp.patterns.model import Boundary, CredentialType

type Check = Callable[[str], bool]

_DIGITS = "0123456789"
_LOWER = "abcdefghijklmnopqrstuvwxyz"
_UPPER = _LOWER.upper()
ALPHABETS = {
    "num": _DIGITS,
    "hex": _DIGITS + "abcdef",
    "HEX": _DIGITS + "ABCDEF",
    "az": _LOWER,
    "AZ": _UPPER,
    "abc": _LOWER + _UPPER,
    "low": _LOWER + _DIGITS,
    "up": _UPPER + _DIGITS,
    "b62": _DIGITS + _UPPER + _LOWER,
    "b58": "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz",
    "url": _DIGITS + _UPPER + _LOWER + "-_",
    "b64": _DIGITS + _UPPER + _LOWER + "+/",
    "b32": _LOWER + "234567",
    "B32": _UPPER + "234567",
}
_TO_ALPHABET = {
    name: bytes(ord(letters[byte % len(letters)]) for byte in range(256)) for name, letters in ALPHABETS.items()
}
_FIELD = re.compile(r"<([A-Za-z0-9]*)(?::([0-9]{1,4}))?>")
_UUID = "<hex:8>-<hex:4>-4<hex:3>-8<hex:3>-<hex:12>"
_LITERAL = re.compile(r"(?:[A-Za-z0-9_/-]|\\\.|\\\$)+(?![?*+{])")
_GROUPS = re.compile(r"\[[^]]*\]|\(\?:(?:[^()\[]|\[[^]]*\])*\)|\\.")
_WORD = re.compile(r"[a-z]{1,12}|[A-Z]{1,12}|[A-Z][a-z]{1,11}|[0-9]{1,4}")


def sample(template: str) -> str:
    """`template` with its fields filled: `<b62:30>` is 30 characters of an alphabet, `<uuid>` a UUID, `<>` nothing.

    The characters follow from the template and the place in it, so that a sample is the same on every run. `<>` stands
    where a literal would otherwise read as a whole token. What is not a field of ours stays: `<your-key>`.
    """
    expanded = template.replace("<uuid>", _UUID)

    def fill(match: re.Match[str]) -> str:
        name, count = match.groups()
        if not name and not count:
            return ""
        if name not in ALPHABETS or not count:
            return match.group()
        seed = hashlib.shake_128(f"{template}\0{match.start()}".encode()).digest(int(count))
        return seed.translate(_TO_ALPHABET[name]).decode()

    return _FIELD.sub(fill, expanded)


def reads_like_words(text: str) -> bool:
    """True for `my-service-key`, `some_identifier_2`: names that happen to begin as a token does.

    Judged by the whole of it, so that a real value with words put behind it is still no name.
    """
    pieces = re.split(r"[-_./:]+", text.strip("-_./:="))
    return all(_WORD.fullmatch(piece) for piece in pieces)


def _is_no_name(prefix: int, text: str) -> bool:
    return not reads_like_words(text[prefix:])


def constant_prefix(regex: str) -> int:
    """How many characters at its start an expression spells out; none where it is a choice."""
    match = _LITERAL.match(regex) if "|" not in _GROUPS.sub("", regex) else None
    return len(match.group().replace("\\", "")) if match else 0


def cred(
    id: str,
    vendor: str,
    title: str,
    regex: str,
    *yes: str,
    no: tuple[str, ...],
    keys: tuple[str, ...] = (),
    check: Check | None = None,
    doc: tuple[str, ...] = (),
    edge: Boundary = "both",
    prefix: int | None = None,
    place: Place | None = None,
) -> CredentialType:
    """A credential type. `yes` and `no` are templates of texts that must and must not match; see `sample`.

    Without a `check` of its own a type at least refuses what reads like a name in somebody's code.
    """
    shown = constant_prefix(regex) if prefix is None else prefix
    return CredentialType(
        id=id,
        vendor=vendor,
        title=title,
        regex=regex,
        keywords=keys,
        check=check or partial(_is_no_name, shown),
        positives=tuple(sample(each) for each in yes),
        negatives=tuple(sample(each) for each in no),
        documented=tuple(sample(each) for each in doc),
        boundary=edge,
        prefix=shown,
        place=place,
    )
