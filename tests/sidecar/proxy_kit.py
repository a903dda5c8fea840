"""A real sidecar process, real upstreams on loopback, and a CA for each side: what the proxy's tests are made of."""

import asyncio
import contextlib
import datetime
import json
import os
import secrets as pysecrets
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sidecar.contract import EgressEvent, Placeholder, Policy, Route, SidecarConfig, UpstreamSettings
from sidecar.control import Channel
from sidecar.secret import REVEAL, Secret
from sidecar.spool import SpoolReader
from tests.fork_server import Forked, fork_sidecar


def bottle_ca() -> tuple[str, str]:
    """A CA as the controller makes it: certificate and key as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test bottle")])
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return cert.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


@dataclass
class Seen:
    """One request as it arrived at an upstream."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    version: str

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]


type Handler = Callable[[Seen, Callable[[dict[str, Any]], Awaitable[None]]], Awaitable[None]]


async def answer(
    send: Callable[[dict[str, Any]], Awaitable[None]],
    status: int = 200,
    body: bytes = b"hello",
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    start = {"type": "http.response.start", "status": status, "headers": headers or [(b"content-type", b"text/plain")]}
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def hello(seen: Seen, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
    await answer(send)


@dataclass
class Upstream:
    """A hypercorn server (HTTP/1.1, HTTP/2, WebSocket) that keeps what it saw; `connections` counts TCP accepts."""

    names: tuple[str, ...]
    ca: trustme.CA
    tls: bool = True
    handler: Handler = hello
    seen: list[Seen] = field(default_factory=list[Seen])
    port: int = 0

    async def _app(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path = scope["raw_path"].decode() if isinstance(scope["raw_path"], bytes) else scope["path"]
        if scope["query_string"]:
            path += "?" + scope["query_string"].decode()
        headers = [(k.decode(), v.decode()) for k, v in scope["headers"]]
        record = Seen(scope["method"], path, headers, body, scope["http_version"])
        self.seen.append(record)
        await self.handler(record, send)

    async def _websocket(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = [(k.decode(), v.decode()) for k, v in scope["headers"]]
        self.seen.append(Seen("WEBSOCKET", scope["path"], headers, b"", scope["http_version"]))
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") == "bye":
                await send({"type": "websocket.close", "code": 1000})
                return
            if message.get("text") is not None:
                await send({"type": "websocket.send", "text": "echo " + message["text"]})
            else:
                await send({"type": "websocket.send", "bytes": message["bytes"][::-1]})

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator["Upstream"]:
        from hypercorn.asyncio import serve
        from hypercorn.config import Config

        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen(128)
        self.port = sock.getsockname()[1]
        config = Config()
        config.bind = [f"fd://{sock.detach()}"]
        config.h11_max_incomplete_size = 4 * 1024 * 1024
        config.accesslog = config.errorlog = None
        folder = Path(tempfile.mkdtemp(prefix="cb-up-"))
        if self.tls:
            leaf = self.ca.issue_cert(*self.names)
            leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "leaf.pem"))
            config.certfile = config.keyfile = str(folder / "leaf.pem")
            config.alpn_protocols = ["h2", "http/1.1"]
        stop = asyncio.Event()
        task = asyncio.get_running_loop().create_task(serve(self._app, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
        try:
            yield self
        finally:
            stop.set()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Bottle:
    """A running sidecar and the agent's view of it."""

    channel: Channel
    process: Forked
    folder: Path
    ca_pem: str
    port: int
    config: SidecarConfig
    ready: dict[str, Any]

    @property
    def proxy(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ca_file(self) -> Path:
        path = self.folder / "ca.pem"
        path.write_text(self.ca_pem)
        return path

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.ca_pem)

    def client(self, **kwargs: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(proxy=self.proxy, verify=self.tls(), trust_env=False, timeout=20, **kwargs)

    def events(self) -> list[EgressEvent]:
        lines = SpoolReader(self.folder / "spool").read(100_000)
        found = [orjson.loads(line) for _, line in lines]
        return [EgressEvent.model_validate(event) for event in found if event["kind"] == "egress"]

    def lines(self, kind: str) -> list[dict[str, Any]]:
        lines = SpoolReader(self.folder / "spool").read(100_000)
        return [event for _, line in lines if (event := orjson.loads(line))["kind"] == kind]

    def notices(self) -> list[dict[str, Any]]:
        return self.lines("notice")

    async def event(self, **wanted: Any) -> EgressEvent:
        """The first event with these values, once it is written."""
        async with asyncio.timeout(10):
            while True:
                for event in self.events():
                    if all(getattr(event, key) == value for key, value in wanted.items()):
                        return event
                await asyncio.sleep(0.02)

    async def set_policy(self, policy: Policy) -> None:
        await self.channel.call("policy", {"policy": policy.model_dump(mode="json")})


def listening() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    return sock


def make_config(folder: Path, routes: tuple[Route, ...], **kwargs: Any) -> SidecarConfig:
    cert, key = bottle_ca()
    upstream = UpstreamSettings(
        extra_ca=kwargs.pop("extra_ca", ()),
        connect_to=kwargs.pop("connect_to", {}),
        upstream_proxy=kwargs.pop("upstream_proxy", None),
    )
    return SidecarConfig(
        slug="test",
        session_id="abc",
        policy=Policy(routes=routes, **kwargs.pop("policy", {})),
        upstream=upstream,
        ca_cert_pem=cert,
        ca_key_pem=Secret(key),
        secrets={name: Secret(value) for name, value in kwargs.pop("secrets", {}).items()},
        sensitive={name: Secret(value) for name, value in kwargs.pop("sensitive", {}).items()},
        canary_name="COPPER_HERALD_SECRET",
        canary=Secret(kwargs.pop("canary", "")),
        placeholders=tuple(
            Placeholder(token_ref=name, value=value) for name, value in kwargs.pop("placeholders", {}).items()
        ),
        control_socket=str(folder / "run" / "control.sock"),
        control_token=Secret(pysecrets.token_hex(16)),
        spool_dir=str(folder / "spool"),
        **kwargs,
    )


@contextlib.asynccontextmanager
async def bottle(
    *routes: Route, fault: str = "", limits: dict[str, float] | None = None, main: str = "", **kwargs: Any
) -> AsyncIterator[Bottle]:
    """Start a sidecar by its real entry point, forked as the product does it, and end it afterwards.

    `fault` breaks one function in it, `limits` replaces some of `sidecar.egress.limits`, `main` is another program
    around it.
    """
    usual = "tests.sidecar.faulty_main" if fault else "tests.sidecar.limits_main" if limits else "sidecar"
    main = main or usual
    folder = Path(tempfile.mkdtemp(prefix="cb-sc-"))
    for name in ("spool", "run"):
        (folder / name).mkdir(mode=0o700)
    config = make_config(folder, routes, **kwargs)
    left, right = socket.socketpair()
    with (folder / "log").open("wb") as log:
        environ = {"FAULT": fault, "LIMITS": json.dumps(limits or {})}
        process = fork_sidecar(right, log.fileno(), environ, main)
    right.close()
    channel = Channel(left)
    listener = listening()
    spool_fd = os.open(folder / "spool", os.O_RDONLY | os.O_DIRECTORY)
    try:
        body = config.model_dump(mode="json", context=REVEAL)
        ready, _ = await channel.call("configure", body, [spool_fd, listener.fileno()], timeout=120)
        yield Bottle(channel, process, folder, config.ca_cert_pem, listener.getsockname()[1], config, ready)
    finally:
        os.close(spool_fd)
        listener.close()
        channel.close()
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, 10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.close()
        if os.environ.get("SHOW_LOG"):
            print((folder / "log").read_text())
        shutil.rmtree(folder, ignore_errors=True)


def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


def pem(ca: trustme.CA) -> str:
    return ca.cert_pem.bytes().decode()
