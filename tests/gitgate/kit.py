"""A git gate with everything real: a sidecar process, git as the client and as the upstream, over HTTP and over SSH."""

import asyncio
import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson

from sidecar.contract import DecisionBody, EgressEvent, GitGateConfig, GitRepo
from sidecar.secret import Secret
from sidecar.spool import SpoolReader
from sidecar.tasks import spawn
from tests.conftest import until
from tests.sidecar.proxy_kit import Bottle, bottle

IDENTITY = {
    "GIT_AUTHOR_NAME": "Test", "GIT_AUTHOR_EMAIL": "t@example.com", "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "t@example.com", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C",
}  # fmt: skip


def git(
    *args: str, cwd: Path | None = None, check: bool = True, env: dict[str, str] | None = None, **kwargs: Any
) -> Any:
    """git by itself, past every gate."""
    return subprocess.run(
        ["git", *args], cwd=cwd, check=check, capture_output=True, text=True,
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", **IDENTITY, **(env or {})}, **kwargs,
    )  # fmt: skip


def bare(path: Path) -> Path:
    """An upstream with one commit on main."""
    git("init", "-q", "--bare", "-b", "main", str(path))
    work = path.with_suffix(".seed")
    git("clone", "-q", str(path), str(work))
    (work / "README.md").write_text("hello\n")
    git("add", ".", cwd=work)
    git("commit", "-q", "-m", "first", cwd=work)
    git("push", "-q", "origin", "HEAD:main", cwd=work)
    git("config", "http.receivepack", "true", cwd=path)
    git("config", "receive.advertiseAtomic", "true", cwd=path)
    return path


def tips(path: Path) -> dict[str, str]:
    lines = git("for-each-ref", "--format=%(refname) %(objectname)", cwd=path).stdout.split("\n")
    return dict(line.split(" ") for line in lines if line)


class _Backend(BaseHTTPRequestHandler):
    """git http-backend behind a small server, as a forge's smart HTTP."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        server: Any = self.server
        world: SmartHttp = server.world
        path, _, query = self.path.partition("?")
        body = self._body()
        world.seen.append((self.command, self.path, dict(self.headers)))
        if world.hang.is_set():
            world.released.wait(60)
        world.before(self.command, self.path)
        if world.token and self.headers.get("Authorization") != world.expected:
            self._answer(401, [("WWW-Authenticate", 'Basic realm="git"')], b"who are you?\n")
            return
        env = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": str(world.root), "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_USER": "test",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""), "REMOTE_ADDR": "127.0.0.1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            **IDENTITY,
        }  # fmt: skip
        done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=env)
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        fields = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n") if ": " in line]
        status = next((int(value.split()[0]) for name, value in fields if name == "Status"), 200)
        self._answer(status, [(name, value) for name, value in fields if name != "Status"], rest)

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, status: int, fields: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        server: Any = self.server
        for start in range(0, len(body), server.world.piece):
            self.wfile.write(body[start : start + server.world.piece])
            server.world.released.wait(server.world.pace)


@dataclass
class SmartHttp:
    """Repositories below `root` at `http://127.0.0.1:port/NAME.git`."""

    root: Path
    token: str = ""
    expected: str = ""
    port: int = 0
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    hang: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    before: Callable[[str, str], object] = lambda *_: None
    """Called before each request is answered, with its method and target."""
    piece: int = 1 << 30
    pace: float = 0
    """A slow link: so many bytes of an answer at a time, with so many seconds between."""

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}.git"

    @contextlib.contextmanager
    def run(self) -> Iterator["SmartHttp"]:
        server: Any = ThreadingHTTPServer(("127.0.0.1", self.port), _Backend)
        server.world, server.daemon_threads = self, True
        if self.tls is not None:
            server.socket = self.tls.wrap_socket(server.socket, server_side=True)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.released.set()
            server.shutdown()
            server.server_close()
            thread.join(5)


@dataclass
class World:
    """A bottle with a gate, and a place for clones."""

    box: Bottle
    folder: Path
    name: str = "app"
    upstream: Path = Path("/nonexistent")
    decided: set[str] = field(default_factory=set)
    ahead: str = ""
    """A folder in front of PATH for what the agent runs."""

    def env(self) -> dict[str, str]:
        path = f"{self.ahead}:{os.environ['PATH']}" if self.ahead else os.environ["PATH"]
        return {"http_proxy": self.box.proxy, "HOME": str(self.folder), "PATH": path, **IDENTITY}

    async def git(
        self, *args: str, cwd: Path | None = None, check: bool = True, timeout: float = 120
    ) -> tuple[int, str]:
        """git as the agent runs it: exit code, and all that it printed."""
        env = self.env()
        process = await asyncio.create_subprocess_exec(
            shutil.which("git", path=env["PATH"]) or "git", *args, cwd=cwd or self.folder, env=env,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            output, _ = await asyncio.wait_for(process.communicate(), timeout)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # as ctrl+c: its helper holds the connection
        text = output.decode(errors="replace")
        assert not check or process.returncode == 0, text
        return process.returncode or 0, text

    async def clone(self, name: str = "", *args: str) -> Path:
        target = self.folder / f"clone-{len(list(self.folder.iterdir()))}"
        await self.git("clone", "-q", *args, url(name or self.name), str(target))
        return target

    def events(self) -> list[EgressEvent]:
        """Of this repository."""
        return [event for event in self.box.events() if event.path.split(" ")[0] == f"/{self.name}.git"]

    def asked(self) -> dict[str, Any] | None:
        """The oldest question that waits for the operator, once."""
        rows = [orjson.loads(line) for _, line in SpoolReader(self.box.folder / "spool").read(100_000)]
        rows = [row for row in rows if row["kind"] == "proposal"]
        gone = {row["proposal_id"] for row in rows if row["action"] == "withdrawn"} | self.decided
        fresh = [row for row in rows if row["action"] == "open" and row["proposal_id"] not in gone]
        if fresh:
            self.decided.add(fresh[0]["proposal_id"])
        return fresh[0] if fresh else None

    async def decide(self, state: Any, reason: str = "", **more: Any) -> dict[str, Any]:
        """Decide what waits, as the operator does; gives what was asked."""
        asked: Any = await until(self.asked)
        body = DecisionBody(proposal_id=asked["proposal_id"], state=state, reason=reason, **more)
        await self.box.channel.call("decision", body.model_dump(mode="json"))
        return asked

    @contextlib.asynccontextmanager
    async def again(self) -> AsyncIterator["World"]:
        """Another sidecar on the same folder, as after one that was killed."""
        async with bottle(git=self.box.config.git) as box:
            yield World(box, self.folder, self.name, self.upstream)

    async def commit(self, clone: Path, files: dict[str, str | bytes], message: str = "change") -> str:
        for name, content in files.items():
            path = clone / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        await self.git("add", "-A", cwd=clone)
        await self.git("commit", "-q", "--allow-empty", "-m", message, cwd=clone)
        return (await self.git("rev-parse", "HEAD", cwd=clone))[1].strip()


def url(name: str) -> str:
    return f"http://git.carboy.internal/{name}.git"


@contextlib.asynccontextmanager
async def world(
    *repos: GitRepo, max_push: int = 100 * 1024 * 1024, supervise: bool = True, hold: float = 200, **kwargs: Any
) -> AsyncIterator[World]:
    """A sidecar that serves `repos`."""
    folder = Path(tempfile.mkdtemp(prefix="cb-git-"))
    gate = folder / "gate"
    gate.mkdir(mode=0o700)
    (folder / "work").mkdir()
    config = GitGateConfig(folder=str(gate), repos=repos, max_push=max_push)
    try:
        async with bottle(git=config, **kwargs) as box:
            policy = box.config.policy.model_copy(update={"version": 2, "supervise": supervise, "hold_seconds": hold})
            await box.set_policy(policy)
            yield World(box, folder / "work")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def shared(root: Path, names: Sequence[str], **kwargs: Any) -> AsyncIterator[World]:
    """One sidecar with a repository for each of `names`, each also as NAME-forced and NAME-reviewed."""
    bare(root / "seed.git")
    for name in names:
        shutil.copytree(root / "seed.git", root / f"{name}.git")
    with SmartHttp(root).run() as http:
        plain = [GitRepo(name=name, url=http.url(name)) for name in names]
        forced = [repo.model_copy(update={"name": f"{repo.name}-forced", "force_push": True}) for repo in plain]
        reviewed = [repo.model_copy(update={"name": f"{repo.name}-reviewed", "review": True}) for repo in plain]
        async with world(*plain, *forced, *reviewed, **kwargs) as running:
            yield running


@contextlib.asynccontextmanager
async def one_each(root: Path, count: int, **kwargs: Any) -> AsyncIterator[Iterator[World]]:
    """One sidecar for all tests of a file: each takes a repository of its own, with its forced and reviewed names."""
    async with shared(root, [f"r{number}" for number in range(count)], **kwargs) as running:

        def worlds() -> Iterator[World]:
            for number in range(count):
                name = f"r{number}"
                (running.folder / name).mkdir()
                yield replace(running, name=name, folder=running.folder / name, upstream=root / f"{name}.git")
            raise AssertionError(f"more tests of this file take a repository than the {count} that there are")

        yield worlds()


def secret(value: str) -> Secret:
    return Secret(value)


__all__ = [
    "GitRepo", "SmartHttp", "World", "bare", "git", "one_each", "secret", "shared", "spawn", "tips", "url", "world",
]  # fmt: skip
