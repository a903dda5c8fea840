"""CRLF injection in the request line and headers: a value that would start a header or a request of its own. Pure.

Never asked about a body, which is delimited by its length.
"""

import re
from collections.abc import Iterator

from sidecar.dlp.finding import Finding

_BREAK = rb"(?:\r\n|\n|\r|%0[dD](?:%0[aA])?|%0[aA]|%250[dDaA]|\\r\\n|\xe5\x98\x8a|%E5%98%8[AaDd]|\xc4\x8a|\xc4\x8d)"
# one break is enough, and several would be divided in 2^n ways: 25 `%0d%0a` of a URL took half a minute
_INJECTED = re.compile(
    _BREAK + rb"(?:[\t ]|%20|%09)*(?:[A-Za-z][A-Za-z0-9-]{1,40}(?:[\t ]|%20)*(?::|%3[aA])|"
    rb"(?:GET|POST|PUT|DELETE|PATCH|HEAD|OPTIONS|CONNECT)(?:[\t ]|%20)+[/h*]|HTTP/1)"
)


def find(text: bytes) -> Iterator[Finding]:
    """One finding, for the first such place."""
    match = _INJECTED.search(text)
    if match is not None:
        yield Finding(
            detector="crlf",
            code="crlf_injection",
            severity="block",
            kind="crlf",
            title="A line break that would start another header or request",
            location="",
            view="raw",
            start=match.start(),
            end=match.end(),
            snippet="line break and a header's name",
        )
