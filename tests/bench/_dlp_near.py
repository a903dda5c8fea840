"""Near misses made from the forms: the value without its name where the form needs one, else a third of its length.

Only of types whose length the vendor fixes. Left out are tokens of no fixed length, passwords (any text is one) and
addresses. Nothing here is read off the rules.
"""

import re

from tests.bench._dlp_computed import SPOILT
from tests.bench._dlp_samples import ALNUM, HEX, NEAR, UP, Form, Maker, Part, form

_NAME = re.compile(r"[A-Z][A-Z0-9_]+=|[A-Za-z-]+: ")
_OWN: dict[str, Maker] = {
    "google-hmac-access-id": form("GOOG1E", (UP, 30)),
    "google-hmac-secret": form("gs_secret_access_key = ", (ALNUM, 13)),
    "mailchimp-api-key": form("mailchimp key ", (HEX, 20), "-us12"),
    "rapidapi-key": form("X-RapidAPI-Key: ", (HEX, 10), "msh", (HEX, 15)),
}
"""Where a name or a length less leaves another valid form of the same type."""
ANY_LENGTH = frozenset(
    {
        "ado-connection-string",
        "amazon-lwa-refresh-token",
        "aws-session-token",
        "database-url",
        "dropbox-token",
        "facebook-access-token",
        "generic-assignment",
        "google-oauth-access-token",
        "google-oauth-refresh-token",
        "instagram-token",
        "libpq-connection",
        "netrc-login",
        "npm-basic-auth",
        "pgpass-line",
        "salesforce-refresh-token",
        "slack-config-token",
        "slack-user-token",
        "square-access-token",
        "totp-uri",
        "url-password",
        "vault-token",
        "x-bearer-token",
        "yandex-iam-token",
        "yandex-oauth-token",
    }
)


def _short(parts: list[Part]) -> Maker | None:
    """The longest run of letters a third as long."""
    runs = [(part[1], -at, part) for at, part in enumerate(parts) if isinstance(part, tuple)]
    if not runs:
        return None
    size, at, (alphabet, _) = max(runs)
    return form(*parts[:-at], (alphabet, size // 3), *parts[1 - at :])


def near(kind: str, make: Maker) -> tuple[str, Maker] | None:
    """What is wrong, and how to make it."""
    written = {**NEAR, **SPOILT, **_OWN}.get(kind)
    if written:
        return "written", written
    if not isinstance(make, Form) or kind in ANY_LENGTH:
        return None
    parts = [part for part in make.parts if part]
    first = parts[0]
    if isinstance(first, str) and _NAME.fullmatch(first):
        return "no name", form("etag=", *parts[1:])
    words = [part for part in parts if isinstance(part, str)]
    short = None if not words or any("://" in word for word in words) else _short(parts)
    return short and ("short", short)
