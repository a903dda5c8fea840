"""How a git of ours proves itself upstream: by the agent's socket, or by a token on an inherited descriptor.

Neither is in an argument, in a variable or in a file on disk. Host keys are those of the manifest and no others; what
the user's own ssh and git configuration says is not read.
"""

import asyncio
import contextlib
import os
import shlex
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.contract import GitRepo
from sidecar.gitgate.agent import Agent
from sidecar.gitgate.connection import Connection
from sidecar.gitgate.git import scratch
from sidecar.gitgate.hostkeys import known_hosts, known_name
from sidecar.gitgate.relay import Relay
from sidecar.gitgate.urls import Upstream
from sidecar.secret import Secret

TOKEN_FD = 3
"""The first descriptor beside stdin, stdout and stderr."""
CONNECT_SECONDS = 10
_HELPER = f'!f() {{ test "$1" = get && cat /dev/fd/{TOKEN_FD}; }}; f'
type Secrets = Callable[[], dict[str, Secret]]


@dataclass
class Access:
    """What one call towards upstream takes along."""

    args: list[str] = field(default_factory=list[str])
    env: dict[str, str] = field(default_factory=dict[str, str])
    extra: list[int] = field(default_factory=list[int])


class Credentials:
    """Of one repository."""

    def __init__(
        self,
        repo: GitRepo,
        upstream: Upstream,
        folder: Path,
        relay: Relay,
        secrets: Secrets,
        agent: Agent | None,
        authorities: str,
        connection: Connection | None = None,
    ) -> None:
        self._repo = repo
        self._upstream = upstream
        self._folder = folder
        self._relay = relay
        self._secrets = secrets
        self._agent = agent
        self._authorities = authorities
        self._connection = connection

    def prepare(self) -> None:
        """Write what is public: the pinned host key, the trusted authorities."""
        if self._repo.host_key:
            self._known_hosts.write_text(known_hosts(self._upstream, self._repo.host_key))
        if self._upstream.scheme == "https":
            self._bundle.write_text(self._authorities)

    @property
    def _known_hosts(self) -> Path:
        return self._folder / f"{self._repo.name}.known_hosts"

    @property
    def _bundle(self) -> Path:
        return self._folder / f"{self._repo.name}.authorities.pem"

    @property
    def missing(self) -> str:
        """Why nothing can be reached with it, if so."""
        if self._upstream.scheme == "ssh" and self._agent is None:
            return "there is no key for it"
        if self._upstream.scheme == "ssh" and not self._repo.host_key:
            return "its host key is not pinned"
        if self._repo.token_ref and self._upstream.scheme != "ssh" and not self._secrets().get(self._repo.token_ref):
            return f"the secret {self._repo.token_ref} is not there"
        return ""

    @property
    def trouble(self) -> str:
        """Why the last call did not reach upstream, where it was not git that found out."""
        return self._relay.trouble

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[Access]:
        """For one call of git."""
        access = Access(env={"GIT_ALLOW_PROTOCOL": self._upstream.scheme})
        async with self._relay.open() as port:
            if self._upstream.scheme == "ssh":
                assert self._agent is not None
                async with self._agent.open() as socket, self._shared(socket, port) as control:
                    command = shlex.join(self._ssh(socket, control, port))
                    access.env |= {"GIT_SSH_COMMAND": command, "GIT_SSH_VARIANT": "ssh"}
                    yield access
                return
            async with self._http(access, port):
                yield access

    @contextlib.asynccontextmanager
    async def _http(self, access: Access, port: int) -> AsyncGenerator[None]:
        self._settings(access, port)
        token = self._secrets().get(self._repo.token_ref) if self._repo.token_ref else None
        if not token:
            yield
            return
        with scratch() as fd:
            # the forges take any user name beside a token
            user, found, word = token.reveal().partition(":")
            pair = (user, word) if found else (self._upstream.user or "x-access-token", token.reveal())
            await asyncio.to_thread(os.write, fd, f"username={pair[0]}\npassword={pair[1]}\n".encode())
            access.args += ["-c", f"credential.helper={_HELPER}"]
            access.extra.append(fd)
            yield

    def _settings(self, access: Access, port: int) -> None:
        settings = {
            "http.followRedirects": "false",  # a credential must not follow to another host
            "http.lowSpeedLimit": "1",
            "http.lowSpeedTime": "15",
            "http.emptyAuth": "false",
            "credential.helper": "",
            "http.proxy": f"socks5h://127.0.0.1:{port}",
        }
        if self._upstream.scheme == "https":
            settings["http.sslCAInfo"] = str(self._bundle)
        for name, value in settings.items():
            access.args += ["-c", f"{name}={value}"]

    @contextlib.asynccontextmanager
    async def _shared(self, socket: str, port: int) -> AsyncGenerator[str]:
        """What ssh is to share its connection by."""
        if self._connection is None:
            yield "none"
            return
        upstream = self._upstream
        server = ["-p", str(upstream.port), f"{upstream.user}@{upstream.host}" if upstream.user else upstream.host]
        async with self._connection.open([*self._ssh(socket, "", port), *server]) as control:
            yield control

    def _ssh(self, socket: str, control: str, port: int) -> list[str]:
        options = {
            "HostName": "127.0.0.1",  # the relay; git itself names host and port again, behind these
            "Port": str(port),
            "HostKeyAlias": known_name(self._upstream),
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self._known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "UpdateHostKeys": "no",
            "CheckHostIP": "no",
            "IdentityAgent": socket,
            "IdentityFile": "none",
            "PreferredAuthentications": "publickey",
            **({"ControlPath": control, "ControlMaster": "no"} if control else {}),
            "ControlPersist": "no",
            "ForwardAgent": "no",
            "ClearAllForwardings": "yes",
            "PermitLocalCommand": "no",
            "ConnectTimeout": str(CONNECT_SECONDS),
            "ServerAliveInterval": "5",
            "ServerAliveCountMax": "3",
            "LogLevel": "ERROR",
        }
        return ["ssh", "-F", "none", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]
