"""Docker bottles beside the bare engine: launch to first byte, freeze and thaw, a snapshot, a resume.
`python -m tests.bench.docker` starts an engine of its own; says why where it cannot.
"""

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.client import Client
from app.core.model import LaunchRequest
from app.paths import Paths
from tests.e2e.docker_engine import BASE, engine, import_base
from tests.integration.launching import launched, prepare

ROUNDS = 3
DELTA = 200_000_000


def timed(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def plain(client: Any) -> float:
    """`docker run` of the same image, to its first byte."""
    began = time.perf_counter()
    container = client.containers.create(BASE, ["sh", "-c", "echo up; sleep 60"], network_mode="none")
    output = container.attach(stream=True)  # before the start, or the one byte may be missed
    container.start()
    next(iter(output))
    took = (time.perf_counter() - began) * 1000
    container.remove(force=True)
    return took


async def first_byte(client: Client, request: LaunchRequest, slug: str) -> float:
    began = time.perf_counter()
    await launched(client, request)
    terminal = await client.terminal(slug)
    async for piece in terminal.output():
        if b"up" in piece:
            break
    took = (time.perf_counter() - began) * 1000
    await terminal.close()
    return took


def show(name: str, values: list[float]) -> None:
    print(
        f"{name:48} median {statistics.median(values):7.0f} ms   of {len(values)}: {min(values):.0f}-{max(values):.0f}"
    )


async def measure(paths: Paths, project: Path, docker: Any) -> None:
    (paths.bottles / "copy.md").write_text("---\nagent_provider: {template: shell}\n---\n")
    script = f"echo up; [ -e ~/big ] || head -c {DELTA} /dev/urandom > ~/big; echo done; sleep 600"
    async with await Client.connect(paths) as client:
        asked = LaunchRequest(
            bottles=("plain",), backend="docker", command=("/bin/sh", "-c", "echo up; sleep 600"), cwd=str(project)
        )
        await first_byte(client, asked.model_copy(update={"label": "warm"}), "warm")
        bare, ours = list[float](), list[float]()
        for number in range(ROUNDS):
            bare.append(await asyncio.to_thread(plain, docker))
            slug = f"one-{number}"
            ours.append(await first_byte(client, asked.model_copy(update={"label": slug}), slug))
        show("docker run, to its first byte", bare)
        show("carboy start --backend docker, to its first byte", ours)
        freezes = list[float]()
        for _ in range(ROUNDS):
            began = time.perf_counter()
            await client.freeze("warm")
            await client.thaw("warm")
            freezes.append((time.perf_counter() - began) * 500)
        show("freeze or thaw", freezes)
        for number in range(ROUNDS):
            await client.kill(f"one-{number}")
        await snapshot(client, asked.model_copy(update={"label": "big", "command": ("/bin/sh", "-c", script)}), docker)


async def snapshot(client: Client, asked: LaunchRequest, docker: Any) -> None:
    await launched(client, asked)
    terminal, seen = await client.terminal("big"), b""
    async for piece in terminal.output():
        seen += piece
        if b"done" in seen:
            break
    await terminal.close()
    bare = docker.containers.run(
        BASE, ["sh", "-c", f"head -c {DELTA} /dev/urandom > /big"], network_mode="none", detach=True
    )
    bare.wait()
    show("docker commit of 200 MB", [await asyncio.to_thread(timed, lambda: bare.commit("bench/bare"))])
    bare.remove(force=True)
    began = time.perf_counter()
    await client.commit("big")
    show("carboy commit of 200 MB", [(time.perf_counter() - began) * 1000])
    await client.kill("big")
    began = time.perf_counter()
    await launched(client, LaunchRequest(resume="big", cwd=asked.cwd))
    show("carboy resume", [(time.perf_counter() - began) * 1000])


def main() -> None:
    import docker

    home = Path(tempfile.mkdtemp(prefix="cb-"))
    try:
        with engine() as url:
            import_base(url)
            os.environ |= {"CARBOY_HOME": str(home), "DOCKER_HOST": url}
            paths = Paths.resolve()
            project = prepare(paths)
            paths.settings.write_text(f"image_base: {BASE}\nidle_exit_minutes: 1\n")
            try:
                asyncio.run(measure(paths, project, docker.DockerClient(base_url=url)))
            finally:
                asyncio.run(end(paths))
                shutil.rmtree(project, ignore_errors=True)
    except pytest.skip.Exception as reason:
        print(f"not measured: {reason}")
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def end(paths: Paths) -> None:
    async with Client(paths, start=False) as client:
        for view in await client.bottles():
            if view.state == "running":
                await client.kill(view.slug)
        await client.shutdown(force=True)


if __name__ == "__main__":
    main()
