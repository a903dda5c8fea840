"""Steps 5 and 8: placeholders may stand only in the slot that the route owns; there the real credential goes, in exact
form, in that header, for that origin. What the agent sent as credentials on such a route is taken off.

The real value appears here as text only while the header is being written.
"""

# mitmproxy's headers are typed in part only
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import base64
import re

from mitmproxy.http import Headers, HTTPFlow

from sidecar.contract import CREDENTIAL_HEADERS, RouteAuth
from sidecar.egress.exchange import exchange_of, refuse
from sidecar.egress.paths import loosely
from sidecar.egress.state import State
from sidecar.secret import Secret

_NOT_IN_NAMES = re.compile(r"[^a-z0-9]")


class TakeOff:
    """Takes the agent's credentials off where the route has its own: what stood there is never looked at."""

    def request(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if not exchange.local and exchange.route is not None and exchange.route.auth is not None:
            _take_off(flow.request.headers, CREDENTIAL_HEADERS | {exchange.route.auth.header})


class Placeholders:
    """Looks for placeholders in all that is left once the outbound scan is through, whatever that was told to find."""

    def __init__(self, state: State) -> None:
        self._state = state

    def request(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange.local or exchange.route is None:
            return
        if self._found(flow):
            refuse(flow, "placeholder_misplaced", "a placeholder stands where no credential belongs")

    def _found(self, flow: HTTPFlow) -> bool:
        if not self._state.placeholders:
            return False
        request = flow.request
        target = request.data.path.decode("latin-1")
        head = "\n".join([target.lower(), loosely(target), _header_text(request.headers)])
        body = request.raw_content or b""
        for placeholder in self._state.placeholders:
            if placeholder.value.lower() in head or placeholder.value.encode() in body:
                return True
        return False


class Inject:
    """The last addon before the request leaves."""

    def __init__(self, state: State) -> None:
        self._state = state

    def request(self, flow: HTTPFlow) -> None:
        exchange = exchange_of(flow)
        if exchange.local or exchange.route is None or exchange.route.auth is None:
            return
        auth = exchange.route.auth
        secret = self._state.secrets.get(auth.token_ref)
        if not secret or not fits_header(secret):
            refuse(flow, "credential_missing", f"the credential {auth.token_ref} is not there or not usable")
        elif flow.request.scheme != "https" and not exchange.inside:
            refuse(flow, "credential_plaintext", "a credential would cross the internet unencrypted")
        else:
            flow.request.headers[auth.header] = render(auth, secret)


def _take_off(headers: Headers, names: frozenset[str]) -> None:
    """Remove `names`, and what gateways take for them: X_Api_Key reaches a program as X-Api-Key (RFC 3875 4.1.18)."""
    alike = {_NOT_IN_NAMES.sub("-", name) for name in names}
    kept = [
        field for field in headers.fields if _NOT_IN_NAMES.sub("-", field[0].decode("latin-1").lower()) not in alike
    ]
    headers.fields = tuple(kept)


def _header_text(headers: Headers) -> str:
    return "\n".join(f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in headers.fields).lower()


def fits_header(secret: Secret) -> bool:
    return secret.reveal().isprintable() and secret.reveal().isascii()


def render(auth: RouteAuth, secret: Secret) -> str:
    value = secret.reveal()
    if auth.scheme == "basic":
        # a bare token goes in as the password: the forges take any user name beside it
        pair = value if ":" in value else f"x-access-token:{value}"
        return "Basic " + base64.b64encode(pair.encode()).decode()
    return value if not isinstance(auth.scheme, str) else f"{auth.scheme} {value}"
