"""Generic rules: `password = "…"`, `"client_secret": "…"`, and credentials in URLs. Pure; placeholders are left alone.

Source code is full of `token = get_token()`; a value counts only when it looks like a value: quoted or bare, no call,
no variable, no word of a dictionary alone, and mixed enough to have been generated or chosen as a password.
"""

import re
import string
from functools import cache

from sidecar.dlp import announced, assigned, shape
from sidecar.dlp.matcher import Spec
from sidecar.dlp.patterns.vendors.structure import irregular, polite
from sidecar.dlp.placeholders import is_placeholder
from sidecar.dlp.portable_matcher import Expression
from sidecar.dlp.rules import Rule

_NAMES = (
    "password", "passwd", "passphrase", "secret", "token", "apikey", "api_key", "api-key", "accesskey", "access_key",
    "access-key", "privatekey", "private_key", "private-key", "auth_key", "authkey", "encryption_key", "signing_key",
    "credential", "pwd",
)  # fmt: skip
_VALUE = r"""[!#-&*+\-./0-9:=?@A-Z^_a-z~]{8,200}"""
_GAP = r"""["']{0,1}[ \t]{0,4}(?::=|=>|=|:)[ \t]{0,4}\\{0,3}["'`]"""
_ASSIGNED = rf"""(?:{"|".join(_NAMES)})[A-Za-z0-9_]{{0,16}}\\{{0,3}}{_GAP}{_VALUE}"""
_ASSIGNED_VALUE = rf"""(?i)(?:{"|".join(_NAMES)})[a-z0-9_]{{0,16}}\\{{0,3}}{_GAP}({_VALUE})\\{{0,3}}["'`]"""
_URL_START = r"[a-zA-Z][a-zA-Z0-9+.\-]{1,20}://[A-Za-z0-9._~%!$&*+=\-]{0,64}:"
_PASSWORD = r"[A-Za-z0-9._~%!$&*+=;,\-]{3,128}"  # noqa: S105  # an expression, no password
_URL_VALUE = rf"{_URL_START}({_PASSWORD})@[A-Za-z0-9\[]"
_DULL_WORDS = """
pass passwd password pw pwd secret token key user username admin root test testing guest example none null true false
prefix string postgres mysql redis rabbitmq minio changeme foo bar baz foobar hunter2 xxx abc 1234 12345 123456
"""
_DULL = frozenset(_DULL_WORDS.split())
_KINDS = (
    string.ascii_lowercase.encode(),
    string.ascii_uppercase.encode(),
    string.digits.encode(),
    bytes(code for code in range(256) if not (code < 128 and chr(code).isalnum())),
)
_WORDY = re.compile(r"[A-Za-z]*[a-z]{2,}(?:[-_./: ][A-Za-z]+)*[0-9]{0,2}")
# A repetition below must not be able to divide a text in two ways, or is possessive (`++`): with Python's expressions
# 32 digits took seconds, and each further one doubles that.
_CAMEL = r"(?:[A-Z](?:[a-z]+|[0-9]{1,4})?)"
_PART = r"[A-Z][a-z]*(?:[A-Z][a-z]+|[0-9])*+_?"
_CODE = re.compile(
    r"[a-z_]\w*(?:\.\w+)+(?:#[A-Za-z]+)?|[A-Z][A-Z0-9_]+|(?:[a-z]+:)?//.*|[./~].*/.*|\$\w+|%\w+|[\w.-]+@[\w.-]+|"
    rf"(?:[A-Z][a-z]{{2,}}|[A-Z][0-9])(?:[A-Z][a-z]+|[0-9])*+(?:\.(?:[A-Z][a-z]+)+)+|"
    rf"[a-z]{{3,}}{_CAMEL}*[A-Z][0-9]{{1,4}}(?:[A-Z][a-z]{{2,}})+|\w*[bB](?:ase)?64_?(?:[eE]nc|[dD]ec)(?:ode[rd]?)?|"
    r"-?0[xX][0-9A-Fa-f]{1,8}(?:_?[iuIU](?:32|64)?)?[lL]{0,2}|(?:base|Base|BASE)64(?:[A-Z][a-z]+|[-_][A-Za-z]+)++|"
    r"[A-Z][A-Za-z]*[0-9]{1,5}[a-z]?[0-9]?(?:[A-Z][a-z]+)*(?:(?:Private|Public|Secret)Key|Tokenizer|Converter|Block|"
    r"Token|Credentials?|Provider|Config|Client|Type|Error|Exception|Request|Response|Options|Model|Schema)|"
    rf"(?:{_PART}\.){{2,}}(?:[A-Z][0-9]{{1,2}})?(?:[A-Z][a-z]{{2,}}){{2,}}|"
    r"[\w.+/=-]{1,40}\.\.\.\w{0,8}|"
    r"(?:PBKDF2|PBE|With|And|Hmac|SHA-?|MD5|AES|RSA|DESede|CBC|GCM|NoPadding|PKCS[57]Padding|pbkdf2|sha|[0-9]|[/_:-])++"
)
"""Names and calls, paths, variables, addresses; names in camel case with a number inside, and those of types; numbers
of 32 bits; what is shortened by three dots; names of algorithms."""
_KNOWN = re.compile(
    r"arn:aws[a-z-]*:[a-z0-9-]+:[^ ]*|urn:[a-z][a-z0-9-]{1,20}(?::(?:[A-Za-z][A-Za-z-]*[a-z0-9.]{0,8}|[0-9.]{1,5}))++|"
    r"[A-Z0-9]{3,128}(?:(?:/|%2F)[a-z0-9-]+){3}(?:/|%2F)aws4_request|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}.*"
)
"""Addresses of resources, scopes of signed requests, times."""
_TESTS_WORDS = "test tests testing fake dummy mock mocked example sample demo stub invalid expired bogus foo bar baz"
_MADE_UP = frozenset(_TESTS_WORDS.split())
_COUNTED = frozenset(("token", "key"))
_PLAIN_WORD = re.compile(r"[a-z]{1,12}|[A-Z][a-z]{0,11}|[A-Z]{1,12}")
_PLAIN_NUMBER = re.compile(r"(?:v|abc)?(?:[0-9]{1,3}|20[0-9]{2}|12345?6?7?8?9?0?)")


def made_up(value: str) -> bool:
    """Words and plain numbers that say that they are for a test (`fake_token_123`), or that count (`key-12345`)."""
    *parts, last = re.split("[-_.]", value)
    if not parts or not all(_PLAIN_WORD.fullmatch(each) or _PLAIN_NUMBER.fullmatch(each) for each in (*parts, last)):
        return False
    if not _MADE_UP.isdisjoint(each.lower() for each in (*parts, last)):
        return True
    return parts[-1].lower() in _COUNTED and _PLAIN_NUMBER.fullmatch(last) is not None


def named(value: str) -> bool:
    """A placeholder, a word, or a piece of code."""
    if is_placeholder(value.encode("ascii", "replace")) or made_up(value):
        return True
    return any(each.fullmatch(value) for each in (_WORDY, _CODE, _KNOWN))


def plausible(value: str) -> bool:
    """A value that someone made or chose as a secret, not a name, a path, a word or a piece of code."""
    if named(value):
        return False
    data = value.encode("ascii", "replace")
    small, large, digits, others = (len(data) - len(data.translate(None, kind)) for kind in _KINDS)
    kinds = sum(map(bool, (small, large, digits, others)))
    if kinds >= 3 and len(value) >= 16 and irregular(value):
        return True
    return (kinds >= 3 and digits >= 2 and len(set(value)) >= 6) or (kinds >= 2 and digits >= 4 and len(value) >= 16)


_FIELD = re.compile(r"[A-Z]+(?:[_-][A-Z]+)+")


def url_password(value: str) -> bool:
    """A password in a URL that is not the word `password`, a variable or a format."""
    plain = value.lower().strip("*.-_")
    return (
        len(plain) >= 3
        and not _DULL.issuperset(re.split("[-_.]+", plain))
        and not value.startswith(("$", "%", "{", "<", ":"))
        and len(set(plain)) > 2
        and not polite(value)
        and not _FIELD.fullmatch(value)
    )


@cache
def generic_rules() -> tuple[Rule, ...]:
    return (
        Rule(
            kind="generic-assignment",
            title="A secret assigned by name",
            detector="token_patterns",
            code="assigned_secret",
            severity="block",
            spec=Spec(shape.trimmed(_ASSIGNED), True, tuple(name.encode() for name in _NAMES)),
            width=shape.max_width(_ASSIGNED) + 8,
            regex=Expression(_ASSIGNED_VALUE),
            accept=plausible,
            harmless=announced.harmless,
        ),
        Rule(
            kind="url-password",
            title="A password in a URL",
            detector="token_patterns",
            code="url_credentials",
            severity="block",
            spec=Spec(rf"{_URL_START}{_PASSWORD}@", False, (b"://",)),
            width=shape.max_width(_URL_VALUE) + 8,
            regex=Expression(_URL_VALUE),
            accept=url_password,
            harmless=announced.user_again,
        ),
        assigned.rule(plausible, named),
    )
