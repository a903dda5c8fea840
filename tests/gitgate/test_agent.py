"""The SSH agent: real keys, real ssh-add and ssh-keygen as its clients, and bytes of somebody else."""

import asyncio
import contextlib
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from sidecar.gitgate.agent import Agent, BadKey, load, public_line
from sidecar.secret import Secret

KEYS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "rsa": rsa.generate_private_key(65537, 2048),
    "ecdsa": ec.generate_private_key(ec.SECP384R1()),
}


def text(key: object, password: bytes | None = None) -> str:
    protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, protection).decode()  # type: ignore[attr-defined]


@pytest.fixture
async def folder() -> AsyncIterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="cb-ag-"))
    yield made
    shutil.rmtree(made)


@contextlib.asynccontextmanager
async def running(folder: Path, kind: str) -> AsyncIterator[Agent]:
    agent = Agent(load(Secret(text(KEYS[kind]))), folder / "agent")
    await agent.start()
    try:
        yield agent
    finally:
        agent.close()


async def tool(*args: str, agent: Path, **kwargs: object) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run, args, capture_output=True, text=True, env={**os.environ, "SSH_AUTH_SOCK": str(agent)}, **kwargs
    )  # type: ignore[call-overload,no-any-return]


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH")
@pytest.mark.parametrize("kind", sorted(KEYS))
async def test_openssh_signs_with_it(folder: Path, kind: str) -> None:
    public = folder / "key.pub"
    public.write_text(public_line(load(Secret(text(KEYS[kind])))) + "\n")
    (folder / "data").write_text("what is signed")
    (folder / "allowed").write_text(f"me {public.read_text()}")
    async with running(folder, kind) as agent:
        refused = await tool(
            "ssh-keygen", "-Y", "sign", "-n", "test", "-f", str(public), str(folder / "data"), agent=agent.path
        )
        assert refused.returncode != 0, "nobody opened it"
        async with agent.open() as path:
            listed = await tool("ssh-add", "-L", agent=Path(path))
            assert public.read_text().split()[1] in listed.stdout
            signed = await tool(
                "ssh-keygen", "-Y", "sign", "-n", "test", "-f", str(public), str(folder / "data"), agent=agent.path
            )
            assert signed.returncode == 0, signed.stderr
            for change in (["-D"], ["-d", str(public)], ["-x"]):
                await tool("ssh-add", *change, agent=agent.path, input="a\na\n")
            assert public.read_text().split()[1] in (await tool("ssh-add", "-L", agent=agent.path)).stdout
    good = await tool(
        "ssh-keygen", "-Y", "verify", "-f", str(folder / "allowed"), "-I", "me", "-n", "test",
        "-s", str(folder / "data.sig"), agent=folder, input="what is signed",
    )  # fmt: skip
    assert good.returncode == 0, good.stderr


@given(st.binary(max_size=300))
def test_any_bytes_get_an_answer(data: bytes) -> None:
    agent = Agent(KEYS["ed25519"], Path("/nonexistent"))
    agent._users = 1
    for message in (data, b"\x0d" + data, b"\x0b" + data, b"\x0d" + struct.pack(">I", len(data)) + data):
        assert agent.answer(message)[0] in (5, 12, 14)


def test_keys_that_cannot_be_used() -> None:
    for wrong in ("", "nonsense", "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n-----END OPENSSH PRIVATE KEY-----"):
        with pytest.raises(BadKey):
            load(Secret(wrong))
    with pytest.raises(BadKey, match="passphrase"):
        load(Secret(text(KEYS["ed25519"], b"secret")))
    assert "PRIVATE" not in repr(Secret(text(KEYS["rsa"])))
