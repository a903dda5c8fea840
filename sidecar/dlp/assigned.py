"""Secrets given by name in the forms of files and commands: `.env`, YAML, INI, XML, query strings, options of programs,
SQL, settings as name and value. Pure.

A value without quotation marks could be anything, so it needs a digit to be looked at, and must look made or chosen as
a secret. `assignments` has the quoted form and says what such a value looks like.
"""

import re
from collections.abc import Callable, Iterator

from sidecar.dlp import announced, shape
from sidecar.dlp.matcher import Spec
from sidecar.dlp.portable_matcher import Expression
from sidecar.dlp.rules import Rule

NAMES = (
    "password", "passwd", "passphrase", "passwort", "passcode", "kennwort", "secret", "token", "apikey", "api_key",
    "api-key", "api key", "accesskey", "access_key", "access-key", "privatekey", "private_key", "private-key",
    "auth_key", "authkey", "encryption_key", "signing_key", "accountkey", "credential", "pwd", "_pass", "mot de passe",
)  # fmt: skip
_CHARS = r"!#-%*+\-./0-9:=?@A-Z^_a-z~"
_LETTERS = _CHARS.replace("0-9", "")
_END = r"""(?:[\s"'`&;,|\\\])}]|<[/!]|\z)"""
_QUOTE = r"""\\{0,3}["'`]"""
_Q = f"(?:{_QUOTE})?"
_WORD = f"(?:{'|'.join(NAMES)})"
_NAME = rf"{_WORD}[A-Za-z0-9_\-]{{0,16}}(?:[ ](?:key|token|value))?"
_BLOCK = r"(?:[|>][+\-]?(?:\\n|\s){1,9})?"
_GAPS = (
    rf"{_Q}\]?[ \t]{{0,4}}(?::=|=>|=|:)[ \t]{{0,4}}{_BLOCK}{_Q}",  # env, YAML, INI, JSON, query strings
    r"(?:[ ][^<>]{1,60})?>[ \t\r\n]{0,8}",  # an element
    r"</[A-Za-z:]{2,16}>[ \t\r\n]{0,8}<[A-Za-z:]{2,16}>",  # two: one with the name, one with the value
    rf"""{_Q}[ ,/>\r\n\t\\n\-]{{1,16}}["'\\]{{0,4}}value{_Q}[ ]?[=:][ ]?{_Q}""",
    rf"[ ]{{1,2}}{_QUOTE}",  # SQL
    rf"{_QUOTE}[ ]?[,)][ ]?{_QUOTE}",  # a call with the name and the value
    rf"\([ ]?{_QUOTE}",
    rf":[ ]?[&A-Za-z]{{2,12}}[ ]?=[ ]?{_QUOTE}",  # with a type between
    r"[ ]?\|[ ]?`?",  # a table
    rf"[ ]is[ ]{_Q}",
)
"""What may stand between the name and its value."""
_COMMANDS = (
    rf"(?:--[a-z\-]{{0,24}}|ENV |ARG |setenv |setx |set -x |set\()[A-Za-z_]{{0,24}}{_NAME}[ ]{_Q}",
    rf"sshpass[ ]{{1,4}}-p[ ]{{0,2}}{_Q}",
    rf"(?:docker|podman) login .{{0,80}}-p[ ]{{0,2}}{_Q}",
    rf"htpasswd -[a-z]{{0,8}}b[a-z]{{0,8}} [^ ]{{1,80}} [^ ]{{1,80}}[ ]{{1,2}}{_Q}",
    rf"(?:mysql|mariadb)(?:dump)? .{{0,80}}-p{_Q}",
    rf"curl .{{0,120}}(?:-u|--user)[ =]{_Q}[A-Za-z0-9._@\-]{{1,64}}:",
    rf"(?:identified by|convertto-securestring)[ ]{_QUOTE}",
    r"-pass(?:in|out|word)? pass:",
    r"login [!-~]{1,80}(?:\\n|\s){1,4}password[ ]",
)
_HINTS = (
    "sshpass", "docker login", "podman login", "htpasswd", "mysql", "mariadb", "curl ", "identified by",
    "convertto-securestring", " pass:", "login ",
)  # fmt: skip
_BEFORE = f"(?:{_NAME}(?:{'|'.join(_GAPS)})|{'|'.join(_COMMANDS)})"
_BEGUN = "|".join(
    [
        rf"[0-9][{_CHARS}]{{7}}",
        *(rf"[{_LETTERS}]{{{at}}}[0-9][{_CHARS}]{{{7 - at}}}" for at in range(1, 7)),
        rf"[{_LETTERS}]{{7,40}}[0-9]",
    ]
)
"""Of a value, as much as tells that it has eight characters and a digit: one hit each."""
_SOURCE = rf"(?i){_BEFORE}((?:{_BEGUN})[{_CHARS}]{{0,192}}){_END}"
_ORDINARY = re.compile(
    r"v?[0-9]+(?:[.:/+_-][0-9A-Za-z]*)+|[a-z]{2,10}[0-9]{1,3}:.*|(?:sha|md)[0-9]{1,3}[-:].*|.*:[0-9]{1,5}(?:/.*)?|"
    r"[A-Za-z0-9_.-]+\.(?:[a-z]{2,4}|[a-z]+\.[a-z]{2,4})(?:[:/].*)?|[A-Z0-9_]+|\$[0-9.]+.*|.*[=:*%$@#!?.~/+-]{3,}.*|"
    r"[a-z]*[0-9]{0,4}(?:[-_.][a-z]*[0-9]{0,4})+|[a-z_][a-z0-9_-]*:[x*!]?:[0-9]+:.*|"
    r"(?:[A-Za-z_$]{1,2}|this)\.[A-Za-z_$][\w$]+(?:\?\?|\|\||[=?,]).*|![01]\W.*"
)
"""Versions, images, digests, addresses, files, constants, prices, names in small letters, lines of /etc/passwd, what
minified scripts read from an object."""
_LONG = 12


def bare(value: str, plausible: Callable[[str], bool], named: Callable[[str], bool]) -> bool:
    """A value without quotation marks that someone made or chose: with two digits, and none of what is ordinary."""
    plain = value.rstrip(".!?:*")
    digits = sum(map(str.isdigit, plain))
    if len(plain) < 8 or digits < 2 or _ORDINARY.fullmatch(plain) or named(plain) or named(value):
        return False
    return plausible(plain) or (len(plain) >= _LONG and sum(map(str.isalpha, plain)) >= 4)


def rule(plausible: Callable[[str], bool], named: Callable[[str], bool]) -> Rule:
    """The rule, given what a value looks like, and what the name of something does."""
    expression = Expression(_SOURCE)

    def locate(text: bytes, start: int, end: int, judged: dict[bytes, bool]) -> Iterator[tuple[int, int]]:
        at = start
        while (match := expression.search(text, at, end)) is not None:
            left, right = match.span(1)
            value = text[left:right]
            counts = judged.get(value)
            if counts is None:
                counts = judged[value] = bare(value.decode("ascii", "replace"), plausible, named)
            at = left  # what was taken for a value may be the next name
            if counts and not announced.harmless(text, left, right):
                at = right
                yield left, right

    return Rule(
        kind="generic-assignment",
        title="A secret assigned by name",
        detector="token_patterns",
        code="assigned_secret",
        severity="block",
        spec=Spec(f"{_BEFORE}(?:{_BEGUN})", True, tuple(word.encode() for word in (*NAMES, *_HINTS))),
        width=shape.max_width(_SOURCE.replace(r"\z", "")) + 8,
        regex=None,
        locate=locate,
    )
