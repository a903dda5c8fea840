"""An SSH agent for one key, inside the sidecar: the private key is never in a file, an argument or another process.

draft-ietf-sshm-ssh-agent: it lists its key and signs with it, nothing else. It answers only while a connection to
upstream is being made (`open()`), on a socket in a folder that is the user's alone.
"""

import asyncio
import base64
import contextlib
import os
import socket
import struct
from collections.abc import AsyncGenerator
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from sidecar.channel import peer_uid
from sidecar.secret import Secret

FAILURE, LIST, LISTED, SIGN, SIGNED = 5, 11, 12, 13, 14
RSA_SHA256, RSA_SHA512 = 2, 4
MAX_MESSAGE = 64 * 1024
MAX_CLIENTS = 8
SECONDS = 60.0

type Private = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class BadKey(ValueError):
    """Not a private key that can be used. The text holds nothing of it."""


def load(secret: Secret) -> Private:
    """The key in OpenSSH or PEM text. Raises BadKey."""
    data = secret.reveal().strip().encode() + b"\n"
    reading = serialization.load_ssh_private_key if b"OPENSSH" in data[:64] else serialization.load_pem_private_key
    try:
        key = reading(data, None)
    except TypeError:
        raise BadKey("the key has a passphrase; give one without") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("this is no private key of SSH") from None
    if not isinstance(key, ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise BadKey("only ed25519, RSA and ECDSA keys can be used")
    return key


def public_line(key: Private) -> str:
    """`ssh-ed25519 AAAA…`"""
    return key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


class Agent:
    def __init__(self, key: Private, path: Path) -> None:
        self._key = key
        self._blob = base64.b64decode(public_line(key).split()[1])
        self.path = path
        self._users = 0
        self._clients = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen; before the sidecar locks itself in, since after it no such socket can be made."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(str(self.path))
        self.path.chmod(0o600)
        sock.listen(8)
        sock.setblocking(False)
        self._server = await asyncio.start_unix_server(self._accepted, sock=sock)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncGenerator[str]:
        """Let it sign; gives what SSH_AUTH_SOCK is to be."""
        self._users += 1
        try:
            yield str(self.path)
        finally:
            self._users -= 1

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        with contextlib.suppress(OSError):  # the folder is closed to a sidecar that is locked in
            self.path.unlink()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        ours = peer_uid(sock) == os.geteuid()
        if not ours or not self._users or self._clients >= MAX_CLIENTS:
            writer.transport.abort()
            return
        self._clients += 1
        try:
            async with asyncio.timeout(SECONDS):
                await self._talk(reader, writer)
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._clients -= 1
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            (size,) = struct.unpack(">I", await reader.readexactly(4))
            if not 1 <= size <= MAX_MESSAGE:
                return
            message = await reader.readexactly(size)
            answer = self.answer(message)
            writer.write(struct.pack(">I", len(answer)) + answer)
            await writer.drain()

    def answer(self, message: bytes) -> bytes:
        """What a message of a client is answered with."""
        if message[:1] == bytes((LIST,)):
            return bytes((LISTED,)) + struct.pack(">I", 1) + _string(self._blob) + _string(b"carboy")
        if message[:1] == bytes((SIGN,)) and self._users:
            with contextlib.suppress(ValueError, struct.error):
                blob, at = _take(message, 1)
                data, at = _take(message, at)
                (flags,) = struct.unpack_from(">I", message, at)
                if blob == self._blob:
                    return bytes((SIGNED,)) + _string(_signature(self._key, data, flags))
        return bytes((FAILURE,))


def _signature(key: Private, data: bytes, flags: int) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return _string(b"ssh-ed25519") + _string(key.sign(data))
    if isinstance(key, rsa.RSAPrivateKey):
        wide = bool(flags & RSA_SHA512)
        if not wide and not flags & RSA_SHA256:
            raise ValueError("SHA-1 signatures are not made")
        signed = key.sign(data, padding.PKCS1v15(), hashes.SHA512() if wide else hashes.SHA256())
        return _string(b"rsa-sha2-512" if wide else b"rsa-sha2-256") + _string(signed)
    size = key.curve.key_size
    digest = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}.get(size)
    if digest is None:
        raise ValueError("an unusual curve")
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
    return _string(f"ecdsa-sha2-nistp{size}".encode()) + _string(_number(r) + _number(s))


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _number(value: int) -> bytes:
    return _string(value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _take(message: bytes, at: int) -> tuple[bytes, int]:
    (size,) = struct.unpack_from(">I", message, at)
    data = message[at + 4 : at + 4 + size]
    if len(data) != size:
        raise ValueError("cut off")
    return data, at + 4 + size
