"""The ChatGPT login that Codex has on this host, and what stands for it in a bottle.

The file with the tokens is read here, on the host, and nowhere else: a bottle gets tokens of the same form that hold
nothing but the account's id and plan, signed with its placeholder. Codex refreshes its own tokens by using them up, so
a renewal is written back as Codex would write it, unless Codex was faster.
"""

import base64
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.errors import CarboyError
from app.files import NotAFile, TooLarge, atomic_write, read_bounded
from app.providers.base import HostLogin, Renewal
from app.providers.conversation import short, tree
from sidecar.contract import PathMatch, Route, RouteDlp, RouteMatch
from sidecar.secret import Secret

LOGIN = "CODEX_CHATGPT_LOGIN"
"""The name under which the access token is known to carboy."""
HOST, ISSUER = "chatgpt.com", "auth.openai.com"
CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann"
"""Codex's own public client id (openai/codex, login)."""
CLAIMS = "https://api.openai.com/auth"
MAX_BYTES = 256 * 1024
LOG_IN = "Run `codex login` on this host and choose ChatGPT"
NEVER = datetime(2100, 1, 1, tzinfo=UTC)
"""When the tokens in a bottle expire: nothing in there must ever try to renew them."""


def auth_file(environ: Mapping[str, str]) -> Path:
    """Where Codex keeps its login."""
    home = environ.get("CODEX_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".codex")
    return Path(home) / "auth.json"


def login(environ: Mapping[str, str]) -> HostLogin:
    """The host's login. Raises CarboyError with what to do where there is none."""
    tokens = tree(_read(auth_file(environ)).get("tokens"))
    access = tokens.get("access_token")
    if not isinstance(access, str) or not access:
        raise CarboyError("Codex is not logged in with ChatGPT on this host", LOG_IN, "login_missing")
    known = claims(access)
    about = tree(claims(tokens.get("id_token")).get(CLAIMS))
    account = short(tokens.get("account_id")) or short(about.get("chatgpt_account_id"))
    if not account:
        raise CarboyError("Codex's login on this host names no account", LOG_IN, "login_missing")
    expires = known.get("exp")
    facts = {"account": account, "plan": short(about.get("chatgpt_plan_type")) or "unknown"}
    return HostLogin(LOGIN, Secret(access), float(expires) if isinstance(expires, int | float) else 0.0, facts)


def renewal(environ: Mapping[str, str]) -> Renewal | None:
    """How a fresh access token is got; None where the login cannot be renewed."""
    path = auth_file(environ)
    used = tree(_read(path).get("tokens")).get("refresh_token")
    if not isinstance(used, str) or not used:
        return None
    body = {"client_id": CLIENT_ID, "grant_type": "refresh_token", "refresh_token": used}
    return Renewal(ISSUER, "/oauth/token", Secret(json.dumps(body)), lambda answer: _keep(path, used, answer))


def _keep(path: Path, used: str, answer: bytes) -> None:
    fresh = tree(json.loads(answer))
    if not isinstance(fresh.get("access_token"), str) or not claims(fresh["access_token"]):
        raise ValueError("the answer holds no token")
    stored = dict(_read(path))
    tokens = dict(tree(stored.get("tokens")))
    if tokens.get("refresh_token") != used:
        return  # Codex renewed it meanwhile: its tokens are the newer ones
    tokens |= {name: fresh[name] for name in ("access_token", "id_token", "refresh_token") if fresh.get(name)}
    stored |= {"tokens": tokens, "last_refresh": datetime.now(UTC).isoformat().replace("+00:00", "Z")}
    atomic_write(path, json.dumps(stored, indent=2).encode(), 0o600)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tree(json.loads(read_bounded(path, MAX_BYTES)))
    except FileNotFoundError:
        raise CarboyError(f"Codex is not logged in on this host: there is no {path}", LOG_IN, "login_missing") from None
    except (ValueError, RecursionError, OSError, NotAFile, TooLarge) as error:
        # the text of an error may hold a part of the file
        raise CarboyError(f"{path} cannot be read ({type(error).__name__})", LOG_IN, "login_missing") from None


def claims(token: object) -> Mapping[str, Any]:
    """What a token says of itself; nothing where it is none. Its signature is the vendor's to judge."""
    if not isinstance(token, str) or token.count(".") != 2:
        return {}
    middle = token.split(".")[1]
    try:
        return tree(json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4))))
    except (ValueError, RecursionError):
        return {}


# --- in the bottle ---------------------------------------------------------------------------------------------------


def stand_in(facts: Mapping[str, str], placeholder: str) -> bytes:
    """The `auth.json` of a bottle."""
    account = {"chatgpt_account_id": facts["account"], "chatgpt_plan_type": facts["plan"]}
    token = _token({"exp": int(NEVER.timestamp()), "email": "agent@carboy.invalid", CLAIMS: account}, placeholder)
    return json.dumps(
        {
            "auth_mode": "chatgpt",
            "OPENAI_API_KEY": None,
            "tokens": {
                "id_token": token,
                "access_token": token,
                "refresh_token": placeholder,
                "account_id": facts["account"],
            },
            "last_refresh": NEVER.isoformat().replace("+00:00", "Z"),
        },
        indent=2,
    ).encode()


def _token(said: Mapping[str, Any], signature: str) -> str:
    parts = [json.dumps(part, separators=(",", ":")).encode() for part in ({"alg": "none", "typ": "JWT"}, said)]
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), signature])


ROUTE = Route(
    host=HOST,
    ports=(443,),
    matches=(
        RouteMatch(
            paths=(
                PathMatch(type="exact", value="/backend-api/codex/responses"),
                PathMatch(type="exact", value="/backend-api/codex/responses/compact"),
            ),
            methods=("POST",),
        ),
        RouteMatch(
            paths=(
                PathMatch(type="exact", value="/backend-api/codex/responses"),
                PathMatch(value="/backend-api/codex/models"),
                PathMatch(type="exact", value="/backend-api/wham/usage"),
                # which workspace the account works in: without it no request is made
                PathMatch(type="exact", value="/backend-api/wham/accounts/check"),
            ),
            methods=("GET",),
        ),
    ),
    dlp=RouteDlp(outbound_on_match="redact"),
)
