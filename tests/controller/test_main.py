"""The controller as a process: started by the first client, one at a time, gone cleanly, back after kill -9."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from app import __version__
from app.build import build
from app.client import Client
from app.client import start as client_start
from app.client.start import small_environment
from app.controller.main import Idle, Lock, lock_of
from app.core.model import LaunchRequest
from app.errors import CarboyError
from app.paths import Paths, private_folder
from app.store.connection import prepare
from app.store.migrations import LATEST
from app.tasks import cancel_and_wait, spawn
from tests.conftest import until
from tests.controllers import forked

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def home(paths: Paths) -> AsyncIterator[Paths]:
    yield paths
    try:
        client = await Client.connect(paths, start=False)
    except CarboyError:
        return
    pid = (await client.status()).pid
    await client.shutdown(force=True)
    await client.close()
    await until(lambda: not psutil.pid_exists(pid))


@pytest.fixture
def forked_home(home: Paths) -> Iterator[Paths]:
    """For what is not about how a controller starts."""
    with forked():
        yield home


@contextmanager
def only_root_may() -> Iterator[None]:
    """Look into the controller. It is not dumpable, so that an ordinary user's other processes cannot."""
    if os.geteuid() == 0:
        yield
    else:
        with pytest.raises((PermissionError, psutil.AccessDenied)):
            yield


async def test_the_first_client_starts_it_and_it_outlives_the_client(home: Paths) -> None:
    async with await Client.connect(home) as client:
        first = await client.status()
    async with await Client.connect(home, start=False) as client:
        assert (await client.status()).pid == first.pid
    process = psutil.Process(first.pid)
    assert process.ppid() != os.getpid()
    assert os.getsid(first.pid) != os.getsid(0)
    with only_root_may():
        assert process.cwd() == "/"
    assert home.log.stat().st_mode & 0o077 == 0


async def test_clients_at_once_get_the_same_one(home: Paths) -> None:
    clients = await asyncio.gather(*(Client.connect(home) for _ in range(5)))
    pids = {(await client.status()).pid for client in clients}
    assert len(pids) == 1
    for client in clients:
        await client.close()


async def test_after_kill_9_the_next_call_starts_another(home: Paths) -> None:
    client = await Client.connect(home)
    first = (await client.status()).pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: not psutil.pid_exists(first))
    assert home.controller_socket.exists()
    second = (await client.status()).pid
    assert second != first
    await client.close()


async def test_a_client_outwaits_a_controller_that_is_ending(
    forked_home: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    ending = lock_of(forked_home)  # it has closed its socket, and still tidies up
    assert ending.take()
    tried = asyncio.Event()
    start = client_start._start

    async def counted(paths: Paths) -> bool:
        ours = await start(paths)
        tried.set()
        return ours

    monkeypatch.setattr(client_start, "_start", counted)
    connecting = spawn(Client.connect(forked_home), name="client")
    await asyncio.wait_for(tried.wait(), 60)
    assert not connecting.done()
    ending.release()
    client = await asyncio.wait_for(connecting, 60)
    assert (await client.status()).pid != os.getpid()
    await client.close()


async def test_the_event_stream_survives_kill_9(forked_home: Paths) -> None:
    client = await Client.connect(forked_home)
    first = (await client.status()).pid
    kinds: list[str] = []

    async def listen() -> None:
        async for event in client.events(since=0):
            kinds.append(event.kind)

    def change() -> bool:
        """Something that the controller tells of: a manifest that changes."""
        (private_folder(forked_home.bottles) / "some.md").write_text(f"---\n---\n{len(kinds)} {os.urandom(4).hex()}\n")
        return "catalogue" in kinds

    task = spawn(listen(), name="listener")
    await until(change)
    os.kill(first, signal.SIGKILL)
    await until(lambda: "lagged" in kinds)
    kinds.clear()
    await until(change)
    assert (await client.status()).pid != first
    await cancel_and_wait(task)
    await client.close()


async def test_changes_of_a_shown_projects_agents_are_told(forked_home: Paths, tmp_path: Path) -> None:
    agents = tmp_path / ".carboy" / "agents"
    agents.mkdir(parents=True)
    async with await Client.connect(forked_home) as client:
        assert (await client.catalogue(str(tmp_path))).agents == ()
        told = asyncio.Event()

        async def listen() -> None:
            async for event in client.events():
                if event.kind == "catalogue":
                    told.set()

        listening = spawn(listen(), name="listener")

        async def changed() -> bool:
            """Again, where it came before they listened; no sooner than changes that are seen together."""
            (agents / "helper.md").write_text(f"---\nbottle: plain\n---\nHelp at {time.time()}.\n")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), 3)
            return told.is_set()

        try:
            await until(changed)
        finally:
            await cancel_and_wait(listening)
        assert [entry.name for entry in (await client.catalogue(str(tmp_path))).agents] == ["helper"]


async def test_sigterm_ends_it_cleanly(forked_home: Paths) -> None:
    async with await Client.connect(forked_home) as client:
        pid = (await client.status()).pid
    os.kill(pid, signal.SIGTERM)
    await until(lambda: not psutil.pid_exists(pid))
    assert not forked_home.controller_socket.exists()
    assert not forked_home.database.with_name("carboy.db-wal").exists()


async def test_no_process_of_its_own_stays(home: Paths) -> None:
    async with await Client.connect(home) as client:
        pid = (await client.status()).pid
        children = psutil.Process(pid).children(recursive=True)
        await client.shutdown()
    await until(lambda: not any(process.is_running() for process in children))


async def test_a_second_one_is_refused(forked_home: Paths) -> None:
    async with await Client.connect(forked_home):
        ended = await asyncio.to_thread(carboy, "serve")
    assert ended.returncode == 1
    assert ended.stderr.strip() == "carboy: A controller is running already. Stop it with: carboy serve --stop"


def carboy(*arguments: str, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), *sys.path)), **environ}
    command = [sys.executable, "-P", "-m", "app", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)


async def test_stop_says_what_it_did(forked_home: Paths) -> None:
    async with await Client.connect(forked_home):
        pass
    ended = await asyncio.to_thread(carboy, "serve", "--stop")
    assert (ended.returncode, ended.stdout) == (0, "the controller has ended\n")
    ended = await asyncio.to_thread(carboy, "serve", "--stop")
    assert (ended.returncode, ended.stdout) == (0, "no controller is running\n")


@pytest.fixture(scope="module")
def other_carboy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another version of carboy, in a folder of its own."""
    folder = tmp_path_factory.mktemp("other")
    for name in ("app", "sidecar", "manifests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    start = folder / "app" / "__init__.py"
    start.write_text(start.read_text().replace(f'"{__version__}"', '"0.0.9"'))
    return folder


async def test_a_controller_of_another_build_is_told_of_and_replaced(home: Paths, other_carboy: Path) -> None:
    await asyncio.to_thread(carboy, "list", PYTHONPATH=os.pathsep.join((str(other_carboy), *sys.path)))
    told = await asyncio.to_thread(carboy, "list")
    assert told.returncode == 0
    assert f"is of another build of carboy (0.0.9, this is {build()})" in told.stderr
    assert "`carboy serve --restart`" in told.stderr
    replaced = await asyncio.to_thread(carboy, "serve", "--restart")
    assert (replaced.returncode, replaced.stdout) == (0, f"the controller is carboy {build()} now\n")
    assert (await asyncio.to_thread(carboy, "list")).stderr == ""


async def test_a_restart_wins_against_clients_of_the_other_build(
    home: Paths, other_carboy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which start one at once, of their own, when theirs ends."""
    monkeypatch.setattr(client_start, "__file__", str(other_carboy / "app" / "client" / "start.py"))
    builds: list[str] = []

    async def follow() -> None:
        async with await Client.connect(home) as client:
            client.on_other_build = builds.append
            while True:
                with contextlib.suppress(CarboyError):
                    await client.status()
                await asyncio.sleep(0.01)

    following = [spawn(follow(), name="client") for _ in range(5)]
    await until(lambda: builds == ["0.0.9"] * 5)
    assert (await asyncio.to_thread(carboy, "serve", "--restart")).returncode == 0
    async with await Client.connect(home, start=False) as client:
        client.on_other_build = builds.append
        await client.status()
    assert builds == ["0.0.9"] * 5
    for task in following:
        await cancel_and_wait(task)


async def test_a_restart_where_none_runs_starts_one(home: Paths) -> None:
    started = await asyncio.to_thread(carboy, "serve", "--restart")
    assert (started.returncode, started.stderr) == (0, "")
    async with await Client.connect(home, start=False) as client:
        assert (await client.status()).bottles == 0


async def test_a_restart_stays_where_asked_and_says_that_it_is_no_service(home: Paths, tmp_path: Path) -> None:
    unit = tmp_path / "systemd" / "user" / "carboy.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    started = await asyncio.to_thread(carboy, "serve", "--restart", "--stay", XDG_CONFIG_HOME=str(tmp_path))
    assert started.returncode == 0
    assert (str(unit) in started.stderr) == (sys.platform != "darwin")
    async with await Client.connect(home, start=False) as client:
        assert "--stay" in psutil.Process((await client.status()).pid).cmdline()


async def test_two_restarts_at_once_both_end_well(home: Paths) -> None:
    async with await Client.connect(home):
        pass
    restarts = [asyncio.to_thread(carboy, "serve", "--restart") for _ in range(2)]
    assert [(done.returncode, done.stderr) for done in await asyncio.gather(*restarts)] == [(0, "")] * 2


async def test_a_restart_says_of_a_controller_that_hangs_that_it_does_not_end(home: Paths) -> None:
    async with await Client.connect(home) as client:
        pid = (await client.status()).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        done = await asyncio.to_thread(carboy, "serve", "--restart")
    finally:
        os.kill(pid, signal.SIGCONT)
    assert done.returncode == 1
    assert "The controller that runs does not end" in done.stderr
    await until(lambda: not psutil.pid_exists(pid))  # it has been asked to, and nobody waits to take its place


def test_who_waits_for_the_lock_gives_up_in_time(paths: Paths) -> None:
    lock, other = lock_of(paths), lock_of(paths)
    assert lock.take()
    assert not other.take(0.2)
    lock.release()
    assert other.take(0.2)
    other.release()


async def test_a_newer_database_is_an_error_that_the_client_sees(forked_home: Paths) -> None:
    private_folder(forked_home.state)
    db = prepare(forked_home.database)
    db.execute("INSERT INTO schema_version VALUES (?, 'future', 0)", (LATEST + 1,))
    db.close()
    with pytest.raises(CarboyError) as caught:
        await Client.connect(forked_home)
    assert caught.value.code == "store_newer"


async def test_one_that_dies_while_it_starts_leaves_its_last_words(
    home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (
        "import os, sys\nif 'serve' in sys.orig_argv:\n  print('boom: no', file=sys.stderr, flush=True); os._exit(3)"
    )
    (tmp_path / "sitecustomize.py").write_text(words)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), *sys.path)))
    with pytest.raises(CarboyError, match="boom: no") as caught:
        await Client.connect(home)
    assert caught.value.code == "controller_start"
    assert str(home.log) in caught.value.hint


async def test_a_file_in_the_place_of_the_socket_is_no_obstacle(forked_home: Paths) -> None:
    private_folder(forked_home.run)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(forked_home.controller_socket))
    dead.close()
    async with await Client.connect(forked_home) as client:
        assert (await client.status()).bottles == 0


async def test_broken_settings_do_not_lock_out(forked_home: Paths) -> None:
    private_folder(forked_home.config)
    forked_home.settings.write_text("them: dark\n")
    async with await Client.connect(forked_home) as client:
        status = await client.status()
    assert any("settings.yml" in warning for warning in status.warnings)


async def test_it_gets_no_secret_of_its_first_client(home: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "do-not-inherit-me")
    async with await Client.connect(home) as client:
        pid = (await client.status()).pid
    with only_root_may():
        found = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"do-not-inherit-me" not in found
        assert b"CARBOY_HOME=" in found


async def test_a_program_that_a_bottle_put_into_the_project_is_not_run(
    home: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, ran = tmp_path / "project", tmp_path / "ran"
    subprocess.run(["git", "init", "-q", project], check=True)
    (project / "tools").mkdir()
    planted = project / "tools/git"
    planted.write_text(f'#!/bin/sh\necho "$*" >> {ran}\n')
    planted.chmod(0o755)
    private_folder(home.bottles)
    (home.bottles / "plain.md").write_text("---\nagent_provider: {template: shell}\n---\n")
    monkeypatch.setenv("PATH", f"{project}/tools:{os.environ['PATH']}")
    async with await Client.connect(home) as client:
        await client.preflight(LaunchRequest(bottles=("plain",), command=("true",), cwd=str(project)))
    assert not ran.exists()


async def test_a_home_that_is_named_relative_to_the_folder_one_is_in(home: Paths) -> None:
    base = home.config.parent
    ended = await asyncio.to_thread(carboy, "list", cwd=base.parent, CARBOY_HOME=base.name)
    assert (ended.returncode, ended.stdout) == (0, "no bottles\n"), ended.stderr
    async with await Client.connect(home, start=False) as client:
        assert await client.bottles() == []


async def test_a_project_cannot_slip_in_modules(home: Paths, tmp_path: Path) -> None:
    package = tmp_path / "app"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('hostile')")
    (package / "__main__.py").write_text("raise SystemExit('hostile')")
    (tmp_path / "aiohttp.py").write_text("raise SystemExit('hostile')")
    ended = await asyncio.to_thread(carboy, "list", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "no bottles\n"), ended.stderr


def test_only_harmless_variables_are_handed_on() -> None:
    given = {
        "PATH": "/bin",
        "HOME": "/root",
        "LC_ALL": "C",
        "CARBOY_HOME": "/x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "LD_PRELOAD": "x",
    }
    assert set(small_environment(given)) == {"PATH", "HOME", "LC_ALL", "CARBOY_HOME"}


async def test_it_loads_neither_proxy_nor_tui_nor_docker(home: Paths) -> None:
    code = (
        "import sys, app.cli.system, app.controller.main, app.controller.wiring\n"
        "bad = {'mitmproxy', 'textual', 'docker', 'rich', 'keyring', 'app.carboy', 'sidecar.egress.proxy'}\n"
        "print(*sorted(bad & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
    async with await Client.connect(home) as client:
        pid = (await client.status()).pid
    # what it really mapped, besides what importing alone shows
    with only_root_may():
        assert "mitmproxy" not in Path(f"/proc/{pid}/maps").read_text()


def test_the_lock_has_one_holder(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "a" / "lock"), Lock(tmp_path / "a" / "lock")
    assert first.take()
    assert not second.take()
    first.release()
    assert second.take()
    second.release()


def test_a_swept_runtime_folder_does_not_make_two(tmp_path: Path) -> None:
    first = Lock(tmp_path / "run" / "lock", tmp_path / "state" / "lock")
    assert first.take()
    (tmp_path / "run" / "lock").unlink()
    assert not Lock(tmp_path / "run" / "lock", tmp_path / "state" / "lock").take()
    first.release()


async def test_it_ends_when_idle_and_not_before() -> None:
    busy, stopped = [True], asyncio.Event()
    idle = Idle(0.02, lambda: bool(busy), stopped.set)
    idle.touch()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stopped.wait(), 0.2)
    busy.clear()
    await asyncio.wait_for(stopped.wait(), 10)
