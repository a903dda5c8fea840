"""What the head of an upstream's answer may say before the agent gets it. Pure but for the headers it mends.

The upstream is not trusted either: what two readers could understand differently ends here.
"""

# mitmproxy's headers are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import base64
import hashlib
import os
import re

from mitmproxy.http import Headers, Request, Response
from mitmproxy.net.http.validate import validate_headers

from sidecar.meter.decode import readable

MAX_FIELDS = 1000
"""Header lines. Servers send some dozens; a CSP or a set of cookies has them in few lines."""
_FOLD = re.compile(rb"\r?\n[ \t]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CODINGS = frozenset({"chunked", "identity"})
"""Transfer codings of answers. With another one the body would go on in it, unread and without its name."""
_NO_ENCODINGS = frozenset({"aws-chunked", "utf-8", "utf8", "us-ascii", "iso-8859-1", "binary", "8bit", "none"})
"""What stores and servers give for a content encoding, and clients pass over: the body stands as it is."""
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_STRIPPED = ("alt-svc", "alternate-protocol")
"""They offer a way past this proxy."""


def mend(request: Request, response: Response) -> str:
    """Bring the head of `response` into one form; returns what is wrong with it, or nothing."""
    if len(response.headers.fields) > MAX_FIELDS:
        return "the server sent too many headers"
    try:
        validate_headers(response)
    except ValueError:
        return "the server sent invalid headers"
    if _switch(request, response):
        response.headers.pop("sec-websocket-extensions", None)
    elif not 200 <= response.status_code <= 999:
        return "the server sent a status that does not belong there"
    if response.headers.get("transfer-encoding", "chunked").strip().lower() not in _CODINGS:
        return "the server sent a transfer coding that was not asked for"
    # a folded line is one line (RFC 9112 5.2)
    fields = tuple((name, _FOLD.sub(b" ", value)) for name, value in response.headers.fields)
    if any(_CONTROL.search(value) for _, value in fields):
        return "the server sent headers with control characters"
    response.headers = Headers(fields)
    if _CONTROL.search(response.data.reason):
        response.data.reason = b""
    for name in _STRIPPED:
        response.headers.pop(name, None)
    _keep_encodings(response.headers)
    return ""


def _keep_encodings(headers: Headers) -> None:
    """Take what is no encoding out of the names of the encodings."""
    names = [name.strip() for name in headers.get("content-encoding", "").split(",")]
    kept = [name for name in names if name.lower() not in _NO_ENCODINGS]
    if len(kept) < len(names):
        headers.pop("content-encoding")
        if kept:
            headers["content-encoding"] = ", ".join(kept)


def own_nonce(request: Request) -> str:
    """Put a nonce of ours in the place of the agent's in what asks for a WebSocket, and return that: sixteen bytes of
    its choice that look like any other."""
    given = request.headers.get("sec-websocket-key", "")
    if given:
        request.headers["sec-websocket-key"] = base64.b64encode(os.urandom(16)).decode()
    return given


def answer_nonce(request: Request, response: Response, given: str) -> None:
    """Answer the agent's nonce where the upstream answered ours. A wrong answer stays wrong."""
    said = response.headers.get("sec-websocket-accept")
    if given and said == _accept(request.headers.get("sec-websocket-key", "")):
        response.headers["sec-websocket-accept"] = _accept(given)


def _accept(nonce: str) -> str:
    """RFC 6455 4.2.2."""
    return base64.b64encode(hashlib.sha1(f"{nonce}{_GUID}".encode(), usedforsecurity=False).digest()).decode()


def bodiless(request: Request, response: Response) -> bool:
    """True where no body belongs to it (RFC 9110 6.4.1)."""
    return request.method == "HEAD" or response.status_code in (101, 204, 304)


def unreadable(request: Request, response: Response) -> str:
    """What is wrong with its body's encoding where that has to be looked through, or nothing. Parts of a body (206)
    were asked for as they are, since a part of an encoded one tells nothing."""
    encoding = response.headers.get("content-encoding", "")
    if bodiless(request, response):
        return ""
    if response.status_code == 206 and encoding.strip().lower() not in ("", "identity"):
        return "the server sent a part of an encoded body, which cannot be looked through here"
    return "" if readable(encoding) else "the server sent a content encoding that cannot be looked through here"


def trailers(fields: Headers) -> Headers:
    """Those of `fields` that may follow a response."""
    return Headers(
        (name, value)
        for name, value in fields.fields[:MAX_FIELDS]
        if not _CONTROL.search(value) and name.lower().decode("latin-1") not in _STRIPPED
    )


def _switch(request: Request, response: Response) -> bool:
    """True where both sides agree that a WebSocket follows."""
    return (
        response.status_code == 101
        and response.http_version == "HTTP/1.1"
        and request.headers.get("upgrade", "").lower() == "websocket"
        and request.headers.get("sec-websocket-version", "") == "13"
        and response.headers.get("upgrade", "").lower() == "websocket"
    )
