"""What the controller asks of a vendor goes through a sidecar as well: by its policy, to an address that was checked,
with the credential of the route. The answer comes back within bounds, and not at all where it holds that credential."""

import asyncio
import base64
from collections.abc import Mapping

from sidecar.contract import CREDENTIAL_HEADERS, Inquiry, InquiryAnswer
from sidecar.egress.addons.credentials import fits_header, render
from sidecar.egress.errand import Errand, ErrandFailed, run
from sidecar.egress.policy import RequestFacts
from sidecar.egress.reach import Reach, Unreachable
from sidecar.egress.state import State
from sidecar.egress.tls import Upstreams
from sidecar.secret import Secret

SECONDS = 20.0
MOST_ANSWER = 4 * 1024 * 1024
"""A list of models has 10 to 400 KB."""
_OWN = frozenset(
    (*CREDENTIAL_HEADERS, "host", "connection", "content-length", "content-type", "transfer-encoding",
     "accept-encoding")
)  # fmt: skip


async def inquire(inquiry: Inquiry, state: State, reach: Reach, upstreams: Upstreams) -> InquiryAnswer:
    """Raises ValueError for one that makes no sense."""
    facts = RequestFacts(inquiry.host, inquiry.port, inquiry.method, inquiry.target)
    verdict = state.policy.decide(facts)
    if not verdict.allowed or verdict.route is None:
        return InquiryAnswer(why=f"is closed here ({verdict.code})")
    headers, secret = dict(_headers(inquiry)), None
    if verdict.route.auth is not None:
        secret = state.secrets.get(verdict.route.auth.token_ref)
        if not secret or not fits_header(secret):
            return InquiryAnswer(why="cannot be asked: there is no usable credential")
        headers[verdict.route.auth.header] = render(verdict.route.auth, secret)
    fields = [(name.encode(), value.encode()) for name, value in headers.items()]
    body = inquiry.body.reveal().encode()
    errand = Errand(inquiry.host, True, inquiry.target, fields, body, inquiry.method, MOST_ANSWER)
    try:
        async with asyncio.timeout(SECONDS):
            destination = await reach.find(inquiry.host, inquiry.port, verdict.route.allow_private)
            status, answer = await run(errand, destination, reach, upstreams)
    except TimeoutError:
        return InquiryAnswer(why="did not answer in time")
    except (ErrandFailed, Unreachable) as error:
        return InquiryAnswer(why=f"cannot be reached: {error}"[:300])
    except OSError as error:
        return InquiryAnswer(why=f"cannot be reached ({type(error).__name__})")
    if _echoes(answer, secret):
        return InquiryAnswer(why="sent the credential back")
    return InquiryAnswer(status=status, body=base64.b64encode(answer))


def _headers(inquiry: Inquiry) -> Mapping[str, str]:
    """Raises ValueError for a header that is not the controller's to choose."""
    given = {name.lower(): value for name, value in inquiry.headers.items()}
    if taken := sorted(_OWN & given.keys()):
        raise ValueError(f"not a header to choose: {taken[0]}")
    body = inquiry.body.reveal().encode()
    own = {
        "host": inquiry.host if inquiry.port == 443 else f"{inquiry.host}:{inquiry.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "user-agent": "carboy",
        "connection": "close",
    }
    if body:
        own |= {"content-type": "application/json", "content-length": str(len(body))}
    return own | given


def _echoes(answer: bytes, secret: Secret | None) -> bool:
    return secret is not None and secret.reveal().encode() in answer
