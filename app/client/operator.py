"""The client's methods for the operator's desk: secrets, notices, what was learned, what happened meanwhile."""

from typing import Any
from urllib.parse import quote

import orjson
from pydantic import BaseModel, TypeAdapter

from app.core.found import Found, Passage
from app.core.learning import LearnReport
from app.core.notices import Notice
from app.core.report import Away, Report
from app.core.vault import VaultView
from sidecar.secret import Secret

_NOTICES = TypeAdapter(list[Notice])


class OperatorCalls:
    """Mixed into the client, which knows how to ask."""

    async def _call(
        self,
        method: str,
        path: str,
        body: BaseModel | dict[str, Any] | None = None,
        *,
        query: dict[str, Any] | None = None,
        timeout: float | None = 60.0,
        start: bool | None = None,
    ) -> bytes:
        raise NotImplementedError

    async def notices(self) -> list[Notice]:
        """The last hundred, the newest first."""
        return _NOTICES.validate_json(await self._call("GET", "/v1/notices"))

    async def read_notices(self, upto: int) -> list[Notice]:
        """Those numbered up to `upto` have been read."""
        return _NOTICES.validate_json(await self._call("POST", "/v1/notices/read", {"upto": upto}))

    async def clear_notices(self) -> None:
        await self._call("POST", "/v1/notices/clear")

    async def try_notices(self) -> list[str]:
        """Send one through every outlet. What went wrong, in words."""
        return list(orjson.loads(await self._call("POST", "/v1/notices/try"))["faults"])

    async def report(self, slug: str, since: float | None = None) -> Report:
        """What one session did, in whole or since then."""
        found = await self._call("GET", f"/v1/bottles/{quote(slug, safe='')}/report", query={"since": since})
        return Report.model_validate_json(found)

    async def away(self, since: float | None = None) -> Away:
        """What all bottles did since the operator left, or since then."""
        return Away.model_validate_json(await self._call("GET", "/v1/away", query={"since": since}))

    async def search(self, text: str, slug: str | None = None, limit: int = 50) -> Found:
        """What agents said and did, in live and past sessions, by words."""
        asked = {"text": text, "slug": slug, "limit": limit}
        return Found.model_validate_json(await self._call("GET", "/v1/search", query=asked))

    async def around(self, number: int) -> Passage:
        """What was said around a hit."""
        return Passage.model_validate_json(await self._call("GET", "/v1/search/around", query={"id": number}))

    async def learned(self, slug: str) -> LearnReport:
        """What a session was refused, as routes that would allow it."""
        return LearnReport.model_validate_json(await self._call("GET", f"/v1/bottles/{quote(slug, safe='')}/learned"))

    async def save_learned(self, slug: str, hosts: tuple[str, ...], name: str) -> str:
        """Write a bottle file with these hosts of it; its path."""
        body = {"hosts": list(hosts), "name": name}
        return orjson.loads(await self._call("POST", f"/v1/bottles/{quote(slug, safe='')}/learned", body))["file"]

    async def vault(self) -> VaultView:
        """Secrets in the keyring: names and times."""
        return VaultView.model_validate_json(await self._call("GET", "/v1/secrets"))

    async def set_secret(self, name: str, value: Secret) -> VaultView:
        """Put a value into the system keyring. It may wait for the person who unlocks it."""
        body = {"name": name, "value": value.reveal()}
        return VaultView.model_validate_json(await self._call("POST", "/v1/secrets", body, timeout=None))

    async def remove_secret(self, name: str) -> VaultView:
        found = await self._call("POST", "/v1/secrets/remove", {"name": name}, timeout=None)
        return VaultView.model_validate_json(found)
