"""The few requests that carboy itself sends: a vendor's list of models, and the renewal of a login of this host.

Each goes through a sidecar of its own, forked for it: that one knows one route and one credential, resolves, checks,
dials and verifies as for a bottle, and ends with its answer. Nothing is sent from here; no error holds a credential.
"""

import asyncio
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from app.controller import ca
from app.errors import CarboyError
from app.paths import Paths, private_folder
from app.processes.identity import kill_and_wait
from app.processes.spawner import Child, Zygote, last_line
from app.settings import load_settings
from sidecar.contract import Inquiry, InquiryAnswer, Policy, Route, SidecarConfig
from sidecar.control import ChannelClosed, RemoteError
from sidecar.secret import REVEAL, Secret

SECONDS = 30.0
"""For each step; the sidecar itself gives the vendor 20."""
AT_ONCE = 4
LOG = "inquiries.log"


@dataclass(frozen=True)
class Ask:
    """One request. `route` must allow it; `credential` is what its `auth` names."""

    method: str
    path: str
    route: Route
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    credential: Secret | None = None
    body: Secret = field(default_factory=lambda: Secret(""))

    @property
    def host(self) -> str:
        return self.route.host


class Answered(CarboyError):
    """The vendor's answer was not what was asked for. `status` is 0 where there was none."""

    def __init__(self, ask: Ask, status: int, why: str) -> None:
        super().__init__(f"{ask.host} {why}", "", "vendor")
        self.status = status


class Outbound:
    """`settings.yml` is read for each request: it may have changed."""

    def __init__(self, paths: Paths, zygote: Zygote) -> None:
        self._paths = paths
        self._zygote = zygote
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def fetch(self, ask: Ask) -> bytes:
        """The body of a successful answer. Raises CarboyError."""
        async with self._slots:
            folder = self._paths.session_run(secrets.token_hex(6))  # as a session's: cleanup knows it
            await asyncio.to_thread(lambda: private_folder(folder))
            try:
                return await self._fetch(ask, folder)
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, True)

    async def _fetch(self, ask: Ask, folder: Path) -> bytes:
        config = await self._config(ask, folder)
        inquiry = Inquiry.model_validate(
            {
                "method": ask.method, "host": ask.host, "port": ask.route.ports[0], "target": ask.path,
                "headers": dict(ask.headers), "body": ask.body,
            }
        )  # fmt: skip
        log = self._paths.state / LOG
        child = await self._zygote.fork("sidecar", "carboy-s inquiry", log)
        try:
            said = await _asked(child, config, inquiry, folder)
        except (ChannelClosed, RemoteError, TimeoutError, ValidationError):
            raise CarboyError(
                f"The sidecar that asks {ask.host} did not do it: {last_line(log) or 'it said nothing'}",
                f"See {log}",
                "sidecar",
            ) from None
        finally:
            child.kill()
            child.close()
            await kill_and_wait(child.process)
        if said.status != 200:
            raise Answered(ask, said.status, f"answered {said.status}" if said.status else said.why)
        return said.body

    async def _config(self, ask: Ask, folder: Path) -> SidecarConfig:
        upstream = (await asyncio.to_thread(load_settings, self._paths)).upstream()
        auth, authority = ask.route.auth, ca.make()
        known = {auth.token_ref: ask.credential} if auth is not None and ask.credential is not None else {}
        return SidecarConfig(
            slug="inquiry",
            session_id=folder.name,
            policy=Policy(routes=(ask.route,), supervise=False),
            upstream=upstream,
            ca_cert_pem=authority.certificate,
            ca_key_pem=authority.key,
            secrets=known,
            control_socket="",  # nobody else dials it: it ends with this channel
            control_token=Secret(""),
            spool_dir=str(folder),
        )


async def _asked(child: Child, config: SidecarConfig, inquiry: Inquiry, folder: Path) -> InquiryAnswer:
    spool = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        body = config.model_dump(mode="json", context=REVEAL)
        await child.channel.call("configure", body, [spool], timeout=SECONDS)
    finally:
        os.close(spool)
    said, _ = await child.channel.call("inquire", inquiry.model_dump(mode="json", context=REVEAL), timeout=SECONDS)
    return InquiryAnswer.model_validate(said)
