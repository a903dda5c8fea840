"""The deploy-key APIs of Gitea and GitHub: make one, find it again, take it away. Knows no bottle and stores nothing.

The host's own settings hold for these calls too: extra authorities, the proxy, `connect_to`. Redirects are not
followed, since the token would go along.
"""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any, Literal, cast

import aiohttp

from app.errors import CarboyError
from sidecar.contract import UpstreamSettings
from sidecar.secret import Secret

SECONDS = 30.0
"""gitgate.md: the bound of one call."""
MAX_ANSWER = 1024 * 1024
MAX_PAGES = 20

type Kind = Literal["gitea", "github"]


@dataclass(frozen=True)
class Forge:
    """One repository on one forge."""

    kind: Kind
    host: str
    owner: str
    name: str

    @property
    def api(self) -> str:
        """Where its API is: GitHub's own host apart, as each says in its documentation."""
        if self.kind == "gitea":
            return f"https://{self.host}/api/v1"
        return "https://api.github.com" if self.host == "github.com" else f"https://{self.host}/api/v3"

    @property
    def keys(self) -> str:
        return f"{self.api}/repos/{self.owner}/{self.name}/keys"

    @property
    def shown(self) -> str:
        return f"{self.owner}/{self.name} on {self.host}"

    def headers(self, token: Secret) -> dict[str, str]:
        if self.kind == "gitea":
            return {"Authorization": f"token {token.reveal()}", "Accept": "application/json"}
        return {
            "Authorization": f"Bearer {token.reveal()}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": "carboy",
        }


async def register(forge: Forge, token: Secret, settings: UpstreamSettings, title: str, public: str) -> int:
    """Register a key that may write; its number. Raises CarboyError; `deploy_key_exists` where it is known already."""
    body = {"title": title, "key": public, "read_only": False}
    status, answer = await _call("POST", forge.keys, forge, token, settings, body)
    if status == 422:
        raise CarboyError(
            f"{forge.shown} has this deploy key already, or does not take it: {_said(answer)}",
            "Remove it in the repository's settings, or run `carboy cleanup`", "deploy_key_exists",
        )  # fmt: skip
    if status != 201 or not isinstance(answer, dict) or not isinstance(answer.get("id"), int):
        raise _refused(forge, status, answer, "make a deploy key")
    return int(answer["id"])


async def revoke(forge: Forge, token: Secret, settings: UpstreamSettings, number: int) -> bool:
    """Take a key away; False where it was gone already. Raises CarboyError."""
    status, answer = await _call("DELETE", f"{forge.keys}/{number}", forge, token, settings)
    if status not in (204, 200, 404):
        raise _refused(forge, status, answer, "revoke a deploy key")
    return status != 404


async def find(forge: Forge, token: Secret, settings: UpstreamSettings, title: str) -> list[int]:
    """Numbers of the keys with this title: of one that was registered while its controller was killed."""
    found: list[int] = []
    for page in range(1, MAX_PAGES + 1):
        url = f"{forge.keys}?page={page}&limit=50&per_page=50"
        status, answer = await _call("GET", url, forge, token, settings)
        if status == 404:
            return found
        if status != 200 or not isinstance(answer, list):
            raise _refused(forge, status, answer, "list its deploy keys")
        rows = cast(list[Any], answer)
        found += [int(row["id"]) for row in rows if isinstance(row, dict) and row.get("title") == title]
        if not rows:
            break
    return found


def _refused(forge: Forge, status: int, answer: Any, what: str) -> CarboyError:
    hint = "The token needs the right to administer this repository" if status in (401, 403, 404) else ""
    return CarboyError(
        f"{forge.host} did not {what} for {forge.owner}/{forge.name}: {status} {_said(answer)}", hint, "forge"
    )


def _said(answer: Any) -> str:
    text = str(cast(dict[str, Any], answer).get("message", "")) if isinstance(answer, dict) else ""
    return "".join(char if char.isprintable() else " " for char in text)[:200]


async def _call(
    method: str, url: str, forge: Forge, token: Secret, settings: UpstreamSettings, body: dict[str, Any] | None = None
) -> tuple[int, Any]:
    """Status and JSON of the answer. Raises CarboyError where there is none in time."""
    context = ssl.create_default_context()
    if settings.extra_ca:
        context.load_verify_locations(cadata="\n".join(settings.extra_ca))
    host = url.split("/")[2]
    target = settings.connect_to.get(f"{host}:443")
    headers = forge.headers(token)
    options: dict[str, Any] = {"ssl": context, "allow_redirects": False, "proxy": settings.upstream_proxy}
    if target:
        url = url.replace(f"https://{host}", f"https://{target}", 1)
        headers["Host"] = host
        options |= {"server_hostname": host, "proxy": None}
    try:
        async with (
            asyncio.timeout(SECONDS),
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS), trust_env=False) as client,
            client.request(method, url, headers=headers, json=body, **options) as response,
        ):
            data = await response.content.read(MAX_ANSWER)
            return response.status, _json(data)
    except TimeoutError:
        raise CarboyError(f"{host} did not answer within {SECONDS:.0f} seconds", "Try again", "forge_timeout") from None
    except aiohttp.ClientError as error:
        raise CarboyError(f"{host} cannot be reached: {type(error).__name__}", "Check the network", "forge") from None


def _json(data: bytes) -> Any:
    import json

    try:
        return json.loads(data) if data.strip() else None
    except ValueError:
        return None
