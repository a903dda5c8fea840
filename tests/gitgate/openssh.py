"""A real sshd for the tests that need one: the system's, or Debian's own package unpacked into a cache.

Nothing of the system is changed: what a package would install (libraries, the account for its unprivileged part) is
seen by that process alone. Skips with the reason where this is no Debian, or nothing can be fetched.
"""

import contextlib
import fcntl
import os
import pwd
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from tests.e2e.packages import cache

INSTALLED = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
PACKAGES = ("openssh-server", "libwrap0")
"""The second is the one library that a system without sshd does not have anyway."""

e2e_without_sshd = pytest.mark.skipif(False, reason="") if INSTALLED else pytest.mark.e2e
"""For what needs sshd: one of the tests that may fetch something, where it is not installed."""

_ACCOUNT = "sshd:x:{0}:{0}::/run/sshd:/usr/sbin/nologin\n"


def ssh_key() -> tuple[str, str]:
    """A private key as text, and its public line."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    return private, public


@dataclass
class Ssh:
    """A real sshd that lets one key in."""

    port: int
    host_key: str
    user: str
    log: Path = Path("/nonexistent")

    @property
    def logins(self) -> int:
        """How often somebody has proved himself: one handshake each."""
        return self.log.read_text().count("Accepted publickey")


@contextlib.contextmanager
def sshd(folder: Path, public: str) -> Iterator[Ssh]:
    """Start it on a free port, as the present user."""
    folder.mkdir(mode=0o700)
    command, environ = _command(folder)
    host_private, host_public = ssh_key()
    (folder / "host").write_text(host_private)
    (folder / "host").chmod(0o600)
    (folder / "authorized").write_text(public + "\n")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    config = folder / "config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'authorized'}\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"PermitRootLogin yes\nLogLevel INFO\n"
        # a forge's account reads no shell files of the user's
        f"SetEnv HOME={folder} GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=*\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "-D", "-e", "-f", str(config)], stderr=log, env=environ)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            assert process.poll() is None, (folder / "log").read_text()
            threading.Event().wait(0.05)
        yield Ssh(port, " ".join(host_public.split()[:2]), pwd.getpwuid(os.geteuid()).pw_name, folder / "log")
    finally:
        process.terminate()
        process.wait(10)


def _command(folder: Path) -> tuple[list[str], dict[str, str]]:
    """How to start it, and with which environment."""
    if INSTALLED:
        return [INSTALLED], dict(os.environ)
    files = _fetched()
    libraries = ":".join(str(path) for path in files.glob("usr/lib/*-linux-gnu"))
    command, environ = [str(files / "usr/sbin/sshd")], {**os.environ, "LD_LIBRARY_PATH": libraries}
    if os.geteuid() != 0:
        return command, environ
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    users = folder / "passwd"
    users.write_text(Path("/etc/passwd").read_text() + _ACCOUNT.format(min(set(range(300, 1000)) - taken)))
    users.chmod(0o644)
    seen = 'mount --bind "$0" /etc/passwd && exec "$@"'
    return ["unshare", "--mount", "sh", "-c", seen, str(users), *command], environ


def _fetched() -> Path:
    """The package's files, fetched once, whoever comes first."""
    if shutil.which("apt-get") is None:
        pytest.skip("sshd is not installed, and there is no apt to fetch it")
    root = cache() / "openssh"
    root.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "done").exists():
            try:
                _run(root, "apt-get", "download", *PACKAGES)
                for package in root.glob("*.deb"):
                    _run(root, "dpkg-deb", "-x", package.name, "files")
            except (OSError, subprocess.SubprocessError) as error:
                said = getattr(error, "stderr", b"") or b""
                pytest.skip(f"sshd cannot be fetched: {error} {said.decode(errors='replace').strip()[-300:]}")
            (root / "done").touch()
    return root / "files"


def _run(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=250, stdin=subprocess.DEVNULL)
