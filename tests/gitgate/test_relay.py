"""The way to upstreams: the settings' `connect_to`, proxy and authorities hold for git as well, names that lead into a
private network are refused, and the relay serves nobody but a git of ours."""

import asyncio
import contextlib
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from sidecar.contract import UpstreamSettings
from sidecar.egress.reach import Reach
from sidecar.gitgate.relay import Relay, owner
from sidecar.gitgate.urls import parse
from tests.gitgate.kit import GitRepo, SmartHttp, bare, secret, tips, url, world
from tests.gitgate.openssh import e2e_without_sshd, ssh_key, sshd
from tests.sidecar.proxy_kit import authority, pem

HOST = "git.example.com"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    bare(tmp_path / "app.git")
    return tmp_path


def served_as(host: str, ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(host).configure_cert(context)
    return context


@contextlib.asynccontextmanager
async def proxy(leads: dict[str, int]) -> AsyncIterator[tuple[str, list[str]]]:
    """A proxy that takes CONNECT to these targets, each to a port of this machine; and what it was asked for."""
    asked: list[str] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        target = head.split(b" ")[1].decode()
        asked.append(target)
        if target not in leads:
            writer.write(b"HTTP/1.1 403 Not through here\r\n\r\n")
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", leads[target])
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        server.close()


async def test_connect_to_and_extra_ca_hold_for_https(root: Path) -> None:
    ca = authority()
    with SmartHttp(root, tls=served_as(HOST, ca)).run() as http:
        repo = GitRepo(name="app", url=f"https://{HOST}/app.git")
        mapped = {f"{HOST}:443": f"127.0.0.1:{http.port}"}
        async with world(repo, connect_to=mapped, extra_ca=(pem(ca),)) as one:
            clone = await one.clone()
            mine = await one.commit(clone, {"a.txt": "a\n"})
            await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
            assert tips(root / "app.git")["refs/heads/main"] == mine
            assert {headers["Host"] for _, _, headers in http.seen} == {HOST}
        # the certificate is verified against the name all the same
        for authorities, name in (((pem(authority()),), HOST), ((pem(ca),), "other.example.com")):
            other = GitRepo(name="app", url=f"https://{name}/app.git")
            mapped = {f"{name}:443": f"127.0.0.1:{http.port}"}
            async with world(other, connect_to=mapped, extra_ca=authorities) as one:
                code, said = await one.git("clone", url("app"), "x", check=False)
                assert (code, "certificate" in said) == (128, True), said


@e2e_without_sshd
async def test_connect_to_and_the_proxy_hold_for_ssh(root: Path) -> None:
    private, public = ssh_key()
    with sshd(root / "ssh", public) as server:
        address = f"{server.user}@{HOST}:{root}/app.git"
        repo = GitRepo(name="app", url=address, host_key=server.host_key, ssh_key=secret(private))
        async with world(repo, connect_to={f"{HOST}:22": f"127.0.0.1:{server.port}"}) as one:
            clone = await one.clone()
            await one.commit(clone, {"a.txt": "a\n"})
            await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
        async with proxy({f"{HOST}:22": server.port}) as (way, asked), world(repo, upstream_proxy=way) as one:
            clone = await one.clone()
            await one.commit(clone, {"b.txt": "b\n"})
            await one.git("push", "-q", "origin", "HEAD:main", cwd=clone)
            assert set(asked) == {f"{HOST}:22"}
        async with proxy({}) as (way, _), world(repo, upstream_proxy=way) as one:
            code, said = await one.git("clone", url("app"), "x", check=False)
            assert (code, "the upstream proxy answered: HTTP/1.1 403" in said) == (128, True), said


async def test_the_proxy_holds_for_https(root: Path) -> None:
    ca = authority()
    with SmartHttp(root, tls=served_as(HOST, ca)).run() as http:
        repo = GitRepo(name="app", url=f"https://{HOST}/app.git")
        async with (
            proxy({f"{HOST}:443": http.port}) as (way, asked),
            world(repo, upstream_proxy=way, extra_ca=(pem(ca),)) as one,
        ):
            await one.clone()
            assert set(asked) == {f"{HOST}:443"}


async def test_a_name_that_leads_into_a_private_network(root: Path) -> None:
    """An address that the manifest states is meant; a name may be pointed anywhere later."""
    with SmartHttp(root).run() as http:
        bad = GitRepo(name="bad", url=f"http://localhost:{http.port}/app.git")
        good = bad.model_copy(update={"name": "good", "allow_private": True})
        async with world(bad) as one:
            code, said = await one.git("clone", url("bad"), "x", check=False)
            assert (code, "a loopback address" in said, "allow_private" in said) == (128, True, True), said
            assert http.seen == []
        async with world(good) as one:
            await one.clone("good")


@contextlib.asynccontextmanager
async def relay(address: str) -> AsyncIterator[Relay]:
    one = Relay(parse(address), allow_private=False)
    await one.listen()
    one.reach = Reach(UpstreamSettings())
    one.reach._cache[HOST] = (time.monotonic() + 60, ("10.1.2.3",))
    try:
        yield one
    finally:
        await one.close()


async def ask(port: int, data: bytes) -> bytes:
    """What comes back until it is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        writer.write_eof()
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def socks(host: str, port: int) -> bytes:
    return b"\x05\x01\x00\x05\x01\x00\x03" + bytes((len(host),)) + host.encode() + port.to_bytes(2)


async def test_it_leads_to_one_upstream_and_only_while_git_calls() -> None:
    async with relay(f"https://{HOST}/app.git") as one:
        assert await ask(one.port, socks(HOST, 443)) == b"", "nobody of ours calls"
        async with one.open() as port:
            for host, number in (("other.example.com", 443), (HOST, 22), ("127.0.0.1", 443)):
                assert (await ask(port, socks(host, number)))[2:4] == b"\x05\x02", (host, number)
            for noise in (
                b"",
                b"\x05",
                b"GET / HTTP/1.1\r\n\r\n",
                b"\x04\x01",
                b"\x05\x01\x02",
                b"\x05\xff" + b"x" * 300,
            ):
                assert (await ask(port, noise))[:2] in (b"", b"\x05\x00")
            assert one.trouble == ""
            assert (await ask(port, socks(HOST, 443)))[2:4] == b"\x05\x01"
            assert "10.1.2.3" in one.trouble
        async with one.open():
            assert one.trouble == "", "what went wrong once is no news of the next call"


def test_whose_a_connection_is() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, open("/proc/net/tcp", "rb") as table:
            peer = client.getsockname()[1]
            data = table.read()
            assert owner(data, peer, port) == os.geteuid()
            assert owner(data, peer, port + 1) is None
            changed = data.replace(b" %5d        0 " % os.geteuid(), b" 65534        0 ")
            assert owner(changed, peer, port) == 65534
