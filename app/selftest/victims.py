"""What the conformance suite attacks: files, services, processes and shared memory of the same user, outside the
bottle. `python -m app.selftest.victims FOLDER` makes them, prints where they are as JSON, and takes all away again
when its standard input ends. Touches nothing but what it made.
"""

# ruff: noqa: S103, S104, S105, S108 - it attacks the very places, modes and addresses that these rules are about

import contextlib
import ctypes
import encodings.idna  # noqa: F401 - before the account changes: it may not be readable then
import hashlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.backends.local.identity import Account
from sidecar.kernel.syscalls import UnknownMachine, number

SECRET = "carboy-victim-secret"
TOKEN = b"carboy-victim-service\n"
_IPC_CREATE = 0o1000 | 0o666
_KEY_SPEC_SESSION = -3


@contextlib.contextmanager
def victims(folder: Path) -> Iterator[dict[str, Any]]:
    """Everything made, and the facts about it."""
    with contextlib.ExitStack() as stack:
        facts = {**_files(folder), **_services(stack), **_sockets(folder, stack)}
        facts |= _process(stack) | _shared(stack) | {"addresses": _addresses(), "uid": os.getuid()}
        yield facts


def _files(folder: Path) -> dict[str, Any]:
    """Open to everyone by their modes: only the bottle's walls are between them and the agent."""
    for name in ("home/.ssh", "other-project", "open", "sockets"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "open").chmod(0o777)
    (folder / "sockets").chmod(0o777)
    paths = {"home_file": folder / "home/diary", "ssh_key": folder / "home/.ssh/id_ed25519"}
    for path in paths.values():
        path.write_text(SECRET)
        path.chmod(0o644)
    (folder / "other-project/code.py").write_text(SECRET)
    root = os.stat("/").st_dev
    accounts = hashlib.sha256(Path("/etc/passwd").read_bytes()).hexdigest()
    return {name: str(path) for name, path in paths.items()} | {
        "other_project": str(folder / "other-project"),
        "open_folder": str(folder / "open"),
        "accounts": accounts,
        "disk": [os.major(root), os.minor(root)],
    }


def _services(stack: contextlib.ExitStack) -> dict[str, Any]:
    ports: dict[str, Any] = {}
    for name, family, kind, address in (
        ("tcp4", socket.AF_INET, socket.SOCK_STREAM, "0.0.0.0"),
        ("udp4", socket.AF_INET, socket.SOCK_DGRAM, "0.0.0.0"),
        ("tcp6", socket.AF_INET6, socket.SOCK_STREAM, "::1"),
        ("udp6", socket.AF_INET6, socket.SOCK_DGRAM, "::1"),
    ):
        ports[name] = 0
        with contextlib.suppress(OSError):
            server = stack.enter_context(socket.socket(family, kind))
            server.bind((address, 0))
            _serve(server, kind)
            ports[name] = server.getsockname()[1]
    return ports


def _sockets(folder: Path, stack: contextlib.ExitStack) -> dict[str, Any]:
    abstract = f"carboy-victim-{secrets.token_hex(8)}"
    paths = {name: str(folder / "sockets" / name) for name in ("path_socket", "docker_socket", "ssh_agent")}
    for address in ("\0" + abstract, *paths.values()):
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(address)
        if not address.startswith("\0"):
            os.chmod(address, 0o777)
        _serve(server, socket.SOCK_STREAM)
    datagram = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    datagram.bind(str(folder / "sockets/datagram"))
    os.chmod(folder / "sockets/datagram", 0o777)
    return {"abstract": abstract, **paths, "datagram_socket": str(folder / "sockets/datagram")}


def _serve(server: socket.socket, kind: int) -> None:
    def streams() -> None:
        server.listen()
        while True:
            peer, _ = server.accept()
            with peer, contextlib.suppress(OSError):
                peer.recv(64)
                peer.sendall(TOKEN)

    def datagrams() -> None:
        while True:
            _, address = server.recvfrom(100)
            server.sendto(TOKEN, address)

    def quietly() -> None:
        with contextlib.suppress(OSError):
            (streams if kind == socket.SOCK_STREAM else datagrams)()

    threading.Thread(target=quietly, daemon=True).start()


def _process(stack: contextlib.ExitStack) -> dict[str, Any]:
    token = f"carboy-victim-{secrets.token_hex(8)}"
    victim = subprocess.Popen(
        ["/bin/sh", "-c", "read line", token],
        stdin=subprocess.PIPE,
        env={"SECRET": SECRET},
        start_new_session=True,
    )
    stack.callback(victim.wait)
    stack.callback(victim.kill)
    return {"pid": victim.pid, "token": token, "address": 0x400000}


def _shared(stack: contextlib.ExitStack) -> dict[str, Any]:
    libc = ctypes.CDLL(None)
    libc.shmat.restype = ctypes.c_void_p
    key = secrets.randbelow(1 << 30) + 1
    segment = libc.shmget(key, 4096, _IPC_CREATE)
    address = libc.shmat(segment, None, 0)
    ctypes.memmove(address, SECRET.encode(), len(SECRET))
    semaphore, queue = libc.semget(key, 1, _IPC_CREATE), libc.msgget(key, _IPC_CREATE)
    stack.callback(lambda: (libc.shmctl(segment, 0, None), libc.semctl(semaphore, 0, 0), libc.msgctl(queue, 0, None)))
    name = f"carboy-victim-{secrets.token_hex(8)}"
    file = Path("/dev/shm") / name
    if file.parent.is_dir():
        file.write_text(SECRET)
        file.chmod(0o644)
        stack.callback(lambda: file.unlink(missing_ok=True))
    return {"ipc_key": key, "shm_file": name, "key": _keyring(libc)}


def _keyring(libc: Any) -> str:
    """A key in the session keyring; it goes with the session. Empty where the kernel has none."""
    name = f"carboy-victim-{secrets.token_hex(8)}"
    with contextlib.suppress(UnknownMachine, KeyError):
        data = SECRET.encode()
        libc.syscall(number("add_key"), b"user", name.encode(), data, len(data), _KEY_SPEC_SESSION)
    return name


def _addresses() -> list[str]:
    """This host's own IPv4 addresses but loopback: the one a route outside would use, and its name's."""
    found: set[str] = set()
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.connect(("192.0.2.1", 9))
        found.add(asked.getsockname()[0])
    with contextlib.suppress(OSError):
        found |= {str(item[4][0]) for item in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    return sorted(address for address in found if not address.startswith("127."))


if __name__ == "__main__":
    # as root: the very account that bottles run under, so that nothing but the walls tells them apart
    Account.of_this_process().become()
    with victims(Path(sys.argv[1])) as made:
        print(json.dumps(made), flush=True)
        sys.stdin.read()
