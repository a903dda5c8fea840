"""Which parts of a secret are secret: of a URL its password, of a service account's JSON its keys. Pure.

Such values hold host names, addresses and field names that stand in innocent texts too. With them as needles, a bottle
that knows a service account could not name `googleapis.com` any more.
"""

import re
from collections.abc import Iterator

from sidecar.dlp.information import informative
from sidecar.dlp.needles import WINDOW, Known, project
from sidecar.secret import Secret

type Span = tuple[int, int]

_MOST, _LARGEST = 256, 64 * 1024
"""Parts, and bytes, of one value; one with more is taken as a whole."""

_SHAPED = re.compile(
    r"(?a)[a-z][a-z0-9+.\-]{1,20}://|\A\s*[{\[]\s*[\"{\[]|\n[^\n]{0,200}[:=]|"
    r"(?:[\w ]{2,40}=[^;]*;){2}|(?:\w{2,30}=\S+\s+){2}"
)
"""What has an inner form: URLs, JSON, lines or pairs of name and value."""
_PLAIN = re.compile(r"(?a)\s*-----BEGIN ")
_URL = re.compile(r"(?a)[A-Za-z][A-Za-z0-9+.\-]{1,20}://[^\s\"'<>\\]+")
_PASSWORD = re.compile(r"(?a)://[^/?#@\s]*?:([^/?#\s]+)@")
_EMAIL = re.compile(r"(?a)[\w.+%\-]{1,64}(?:@|%40)[\w\-]+(?:\.[\w\-]+)+")
_HOST = re.compile(r"(?a)[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63})+(?::[0-9]{1,5})?")
_TOKEN = re.compile(r"(?a)[^\s\"'`{}\[\],;<>()=:|\\]+={0,2}")
_SEGMENT = re.compile(r"(?a)[^/?&=#;:,@.\s]+")
_NAMED = re.compile(
    r"(?ai)(?:passw(?:or)?d|passphrase|pass|pwd|secret|token|key|credentials?|auth)[\w\-]{0,16}[\"'`\]]{0,2}[ \t]{0,4}"
    r"(?::|=>?)[ \t]{0,4}(?:\"((?:[^\"\\\n]|\\.)+)\"|'([^'\n]+)'|([^\s\"'`;,{}\[\]]+))"
)
"""A value by a name that says what it is."""
_KEY = re.compile(r"(?a)[\"'`\]]{0,2}[ \t]{0,4}[:=]")
"""What stands behind the name of a value."""
_ESCAPE = re.compile(r"(?a)%[0-9A-Fa-f]{2}")
_PATH = re.compile(r"(?a)[~.]{0,2}/[^0-9]*")
_GIVEN_LEAST, _MADE_LEAST = 8, 12


def told(known: Known) -> Iterator[Known]:
    """What to look for of a secret: it, or each of its secret parts. A short one is looked for as it stands, if it is
    no word, and with what stands beside it, which is enough to be found in any encoding."""
    raw = known.value.reveal().encode("utf-8", "surrogatepass")
    parts = secret_parts(raw)
    if not parts:
        yield known
    for start, end in parts:
        found = {raw[start:end]}
        if len(project(raw[start:end])) < WINDOW:
            if not (any(48 <= byte < 58 for byte in raw[start:end]) and informative(raw[start:end])):
                found.clear()
            found |= {raw[_low(raw, start, end) : end], raw[start : _high(raw, start, end)]}
        for part in sorted(found):
            yield known._replace(value=Secret(part.decode("utf-8", "surrogatepass")))


def _low(raw: bytes, start: int, end: int) -> int:
    while start and (len(project(raw[start:end])) < WINDOW or 0x80 <= raw[start] < 0xC0):
        start -= 1
    return start


def _high(raw: bytes, start: int, end: int) -> int:
    while end < len(raw) and (len(project(raw[start:end])) < WINDOW or 0x80 <= raw[end] < 0xC0):
        end += 1
    return end


def secret_parts(raw: bytes) -> list[Span]:
    """Where in `raw` what is secret stands, ascending. Empty where all of it is, or nothing else can be told."""
    value = raw.decode("latin-1")
    if len(value) > _LARGEST or _PLAIN.match(value) or not _SHAPED.search(value):
        return []
    parts: list[Span] = []
    known = [match.span() for match in _EMAIL.finditer(value)]
    for url in _URL.finditer(value):
        known.append(url.span())
        start = url.start()
        password = _PASSWORD.search(value, start, url.end())
        if password is not None and len(password.group(1)) >= _GIVEN_LEAST:
            parts.append(password.span(1))
            start = password.end()
        parts += [each.span() for each in _SEGMENT.finditer(value, start, url.end()) if _made(each.group())]
    for given in _NAMED.finditer(value):
        span = given.span(given.lastindex or 0)
        if not _inside(known, span[0]) and span[1] - span[0] >= _GIVEN_LEAST and not _public(value[slice(*span)]):
            known.append(span)
            parts.append(span)
    for token in _TOKEN.finditer(value):
        if _inside(known, token.start()) or _KEY.match(value, token.end()):
            continue
        if _made(token.group()) and not _public(token.group()):
            parts.append(token.span())
    return sorted(parts) if len(parts) <= _MOST else []


def _public(text: str) -> bool:
    """A host, a path, or a key in PEM, whose lines are told by themselves: what frames them is everywhere."""
    return _PLAIN.match(text) is not None or _HOST.fullmatch(text) is not None or _PATH.fullmatch(text) is not None


def _inside(spans: list[Span], at: int) -> bool:
    return any(start <= at < end for start, end in spans)


def _made(text: str) -> bool:
    """Long, of letters with two digits and more: a machine made it."""
    text = _ESCAPE.sub("", text)
    letters, digits = sum(map(str.isalpha, text)), sum(map(str.isdigit, text))
    return letters + digits >= _MADE_LEAST and digits >= 2 and letters >= 2
