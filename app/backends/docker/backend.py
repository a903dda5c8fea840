"""The Docker backend: containers of an engine, each with a session holder beside it. Talks to the engine on threads.

A container outlives its holder and its controller. What was made is on disk (`facts`) before it exists, and carries
labels: nothing is found by a guess.
"""

import asyncio
import contextlib
import os
import platform
from pathlib import Path
from typing import Any

from app.backends import held
from app.backends.base import Backend, Box, BoxSpec, Progress
from app.backends.docker import covering, facts, helper, images, options, probing, script, seccomp
from app.backends.docker.box import DockerBox
from app.backends.docker.engine import Engine
from app.backends.docker.entering import Place
from app.backends.docker.facts import Facts
from app.backends.docker.watch import Watch
from app.backends.held import ForkHolder, TokenOf
from app.backends.local import placeholders
from app.backends.local.identity import Account
from app.core.model import BackendReport
from app.errors import CarboyError, NotFound, NotSupported

SAVED = "localhost/carboy/saved"
"""Where snapshots are tagged: `docker save localhost/carboy/saved:…` takes one elsewhere."""


class DockerBackend(Backend):
    """`recipes` is the folder of the product's own images, `states` that of all sessions' state folders."""

    name = "docker"
    isolation = "container"
    capabilities = frozenset({"pause", "commit", "limits", "reattach"})
    uses_images = True

    def __init__(self, fork_holder: ForkHolder, token: TokenOf, recipes: Path, states: Path) -> None:
        self._state = states / "any"
        self._recipes = recipes
        self._fork_holder = fork_holder
        self._token = token
        self._engines: dict[str, Engine] = {}
        self._watches: dict[str, Watch] = {}
        self._report: BackendReport | None = None
        self._probing = asyncio.Lock()
        self._building = asyncio.Lock()
        self._url = ""

    # --- what there is ------------------------------------------------------------------------------------------------

    def engine(self, url: str) -> Engine:
        if url not in self._engines:
            self._engines[url] = Engine(url)
        return self._engines[url]

    def _watch(self, engine: Engine) -> Watch:
        return self._watches.setdefault(engine.url, Watch(engine))

    async def probe(self) -> BackendReport:
        """The first engine in which a container really runs. A good finding is kept while the engine answers."""
        async with self._probing:
            if self._report is None or not self._report.works or not await self._answers():
                self._report, self._url = await probing.probe(self.engine)
            return self._report

    async def _answers(self) -> bool:
        try:
            return bool(await self.engine(self._url).call(lambda client: client.ping()))
        except CarboyError:
            return False

    def plan(self, spec: BoxSpec) -> list[str]:
        lines = [
            f"container {facts.name_of(spec.slug, '<session>')}, no network but the proxy",
            f"image {images.describe(spec.image)}",
            f"home {spec.home}, kept in {spec.state / 'home'}",
        ]
        if spec.project is not None:
            copied = "" if spec.project_copy is None else f"a copy in {spec.project_copy}, "
            lines.append(f"project {spec.project} ({copied}{'read-write' if spec.project_writable else 'read-only'})")
        if self._carried(spec.runtime):
            lines.append("its way out over the engine's stream; masked files as copies; `git config` in it fails")
        if spec.runtime and spec.runtime not in facts.ENTERED:
            lines.append(f"runtime {spec.runtime}: a kernel of its own; beyond limits.memory all of it ends")
        return [*lines, *(f"read-only {mount.source} at {mount.target}" for mount in spec.mounts)]

    def _carried(self, runtime: str | None) -> bool:
        """Whether such a container cannot be entered (decision 18)."""
        elsewhere = bool(self._url) and self.engine(self._url).elsewhere
        return elsewhere or (runtime or "") not in facts.ENTERED

    def runtime_problem(self, runtime: str | None) -> CarboyError | None:
        if not runtime or runtime in facts.ENTERED or not self._url:
            return None
        engine = self.engine(self._url)
        if engine.podman:
            return NotSupported(
                f"A bottle cannot run under the runtime {runtime} in Podman: it could not be entered there",
                "Take `runtime` out of the bottle file, or use Docker (DOCKER_HOST names its socket)",
            )
        if runtime not in engine.runtimes:
            return NotSupported(
                f"The engine at {engine.url} has no runtime {runtime}. It has: {', '.join(sorted(engine.runtimes))}",
                "Install it (for gVisor: https://gvisor.dev/docs/user_guide/install/, then `sudo runsc install`, "
                "restart Docker and `carboy serve --stop`), or take `runtime` out of the bottle file",
            )
        return None

    # --- making -------------------------------------------------------------------------------------------------------

    async def create(self, spec: BoxSpec, progress: Progress = lambda _: None) -> Box:
        report = await self.probe()
        if not report.works:
            raise CarboyError(report.reason, report.fix, "no_engine")
        if problem := self.runtime_problem(spec.runtime):
            raise problem
        engine = self.engine(self._url)
        async with self._building:  # one build for all who want the image
            image = await images.ensure(engine, spec.image, self._recipes, spec.image_base, progress)
        carried = self._carried(spec.runtime)
        account = await asyncio.to_thread(covering.account, spec) if carried else Account.of_this_process()
        known = Facts(
            url=engine.url, name=facts.name_of(spec.slug, spec.session_id), image=image, tty=spec.tty,
            listen_port=spec.listen_port, image_base=spec.image_base, wall_clock=spec.limits.wall_clock,
            bounds="" if engine.controls else script.bounds(spec.limits),
            carried=carried, uid=account.uid, gid=account.gid, runtime=spec.runtime or "",
            ptrace=spec.limits.ptrace,
        )  # fmt: skip
        await asyncio.to_thread(known.save, spec.state)
        progress("starting the session holder")
        holder = await self._fork_holder(spec.session_id)
        try:
            progress("starting the container")
            shown = await asyncio.to_thread(covering.prepare, spec, account) if carried else None
            found = await self._run(engine, spec, known, shown)
            known = known.model_copy(update={"id": found["Id"]})
            await asyncio.to_thread(known.save, spec.state)
            place = _place(known, found, engine, report.engine, shown)
            await asyncio.gather(held.build(holder, spec, container=place), self._help(engine, spec, known, progress))
        except BaseException:
            holder.kill()
            holder.close()
            await asyncio.shield(self.remove(spec.state))
            raise
        dial = held.dialler(spec.session_id, spec.run, self._token)
        box = DockerBox(spec.session_id, holder.channel, dial, str(place["engine"]))
        box.at(engine, self._watch(engine), known, spec)
        box.forked = holder
        return box

    async def _run(self, engine: Engine, spec: BoxSpec, known: Facts, shown: covering.Shown | None) -> dict[str, Any]:
        """The container, created and waiting at its gate; what the engine says of it."""
        folder = await asyncio.to_thread(script.prepare, spec.run)
        walls = await asyncio.to_thread(
            seccomp.option, spec.run, platform.machine(), ptrace=spec.limits.ptrace, as_file=engine.podman
        )
        user = (known.uid, known.gid)
        wanted = options.container(spec, known.image, str(folder), user, walls, podman=engine.podman)
        masked = options.MASKED if shown is not None and not known.own_kernel else ()
        if shown is not None:
            options.carried(wanted, spec.session_id, shown.binds, own_kernel=known.own_kernel)

        def make(client: Any) -> dict[str, Any]:
            identity = created(client, wanted, rootless=engine.rootless, masked=masked)
            client.api.start(identity)
            return client.api.inspect_container(identity)

        found = await engine.call(make)
        if not found["State"].get("Running"):
            said = str(found["State"].get("Error") or f"exit code {found['State'].get('ExitCode')}")
            raise CarboyError(
                f"The container did not start: {said[:300]}", "The image needs a /bin/sh", "container_start"
            )
        return found

    async def _help(self, engine: Engine, spec: BoxSpec, known: Facts, progress: Progress) -> None:
        """As an ordinary user: the helper that enters the container in the holder's stead. It removes itself."""
        if os.geteuid() == 0 or known.carried:
            return
        image = await images.ensure(engine, None, self._recipes, spec.image_base, progress)
        labels = facts.labels(spec.slug, spec.session_id, spec.state, "helper")
        wanted = options.helper(image, f"{facts.name_of(spec.slug, spec.session_id)}-helper", labels)
        await engine.call(lambda client: client.containers.run(entrypoint=helper.command(spec.run), **wanted))

    # --- finding ------------------------------------------------------------------------------------------------------

    async def adopt(self, slug: str, session_id: str, state: Path, run: Path) -> Box | None:
        del slug
        known = await asyncio.to_thread(facts.load, state)
        if known is None:
            return None
        dial = held.dialler(session_id, run, self._token)
        found = await held.find(dial)
        if found is None:
            return None
        channel, status = found
        box = DockerBox(session_id, channel, dial, str(status.get("engine", "")))
        engine = self.engine(known.url)
        box.at(engine, self._watch(engine), known, None)
        return box

    async def rehold(self, slug: str, session_id: str, state: Path, run: Path) -> Box | None:
        known = await asyncio.to_thread(facts.load, state)
        if known is None or not known.listen_port:
            return None
        engine = self.engine(known.url)
        found = await engine.call(lambda client: client.api.inspect_container(known.id))
        if not found["State"].get("Running"):
            return None
        spec = facts.again(known, slug, session_id, state, run, str(found["State"].get("StartedAt", "")))
        place = _place(known, found, engine, "podman" if engine.podman else "docker", None)
        holder = await self._fork_holder(session_id)
        await held.build(holder, spec, container=place, again=True)
        dial = held.dialler(session_id, run, self._token)
        box = DockerBox(session_id, holder.channel, dial, str(place["engine"]))
        box.at(engine, self._watch(engine), known, None)
        box.forked = holder
        box.helping = lambda: self._help(engine, spec, known, lambda _: None)
        return box

    async def remove(self, state: Path) -> list[str]:
        """A session's container, and its helper where one is left. Idempotent; an engine that is gone is told of."""
        known = await asyncio.to_thread(facts.load, state)
        if known is None:
            return []
        engine = self.engine(known.url)
        removed: list[str] = []
        for name in (known.name, f"{known.name}-helper"):
            try:
                await engine.call(lambda client, name=name: client.api.remove_container(name, v=True, force=True))
                removed.append(f"container {name}")
            except NotFound:
                continue
        return removed

    async def forget(self, state: Path) -> list[str]:
        removed = await asyncio.to_thread(placeholders.forget, state)
        await asyncio.to_thread(covering.forget, state)
        with contextlib.suppress(CarboyError):  # an engine that is gone is cleaned up after when it is back
            removed += await self.remove(state)
        return removed

    async def layer(self, state: Path) -> int:
        known = await asyncio.to_thread(facts.load, state)
        if known is None:
            return 0
        return await self.engine(known.url).call(lambda client: _layer(client, known.name))

    # --- snapshots ----------------------------------------------------------------------------------------------------

    async def commit(self, state: Path, name: str) -> tuple[str, str]:
        """The container's own layer as an image. Memory file systems, home and project are not in it."""
        known = await asyncio.to_thread(facts.load, state)
        if known is None:
            return "", ""
        home = facts.home_of(state)
        reference = f"{SAVED}:{name}"
        session = name.partition("-")[0]
        changes = [f"LABEL {facts.KIND}=saved", f"LABEL {facts.HOME}={home}", f"LABEL {facts.SESSION}={session}"]

        def save(client: Any) -> str:
            return str(client.api.commit(known.name, repository=SAVED, tag=name, pause=False, changes=changes)["Id"])

        return await self.engine(known.url).call(save), reference

    async def has_image(self, state: Path, image: str) -> bool:
        known = await asyncio.to_thread(facts.load, state)
        url = known.url if known is not None else self._url
        try:
            return bool(await self.engine(url).call(lambda client: client.api.inspect_image(image)))
        except CarboyError:
            return False

    async def discard(self, state: Path, image: str) -> None:
        known = await asyncio.to_thread(facts.load, state)
        if known is not None:
            with contextlib.suppress(CarboyError):
                await self.engine(known.url).call(lambda client: client.api.remove_image(image))

    async def preserve(self, state: Path) -> None:
        """The container stays, stopped: its layer is what a resume goes on from."""
        await asyncio.to_thread(placeholders.forget, state)
        await asyncio.to_thread(covering.forget, state)
        known = await asyncio.to_thread(facts.load, state)
        if known is not None:  # its holder may have been killed: it must not run on
            with contextlib.suppress(CarboyError):
                await self.engine(known.url).call(lambda client: _end(client, known.name))

    async def purge(self, state: Path, session_id: str) -> None:
        await self.forget(state)
        known = await asyncio.to_thread(facts.load, state)
        if known is not None:
            with contextlib.suppress(CarboyError):
                wanted = {facts.SESSION: session_id, facts.HOME: facts.home_of(state)}
                await self.engine(known.url).call(lambda client: _remove_images(client, wanted, frozenset()))

    async def cleanup(self, live: frozenset[str], kept: frozenset[str]) -> list[str]:
        """Containers and images of ours whose session is neither live nor kept, in the engines that were spoken to."""
        home = facts.home_of(self._state)
        safe = live | kept

        def clear(client: Any) -> list[str]:
            removed: list[str] = []
            for found in client.api.containers(all=True, filters={"label": [f"{facts.HOME}={home}"]}):
                if found["Labels"].get(facts.SESSION) not in safe:
                    client.api.remove_container(found["Id"], v=True, force=True)
                    removed.append(f"container {found['Names'][0].lstrip('/')}")
            return removed + _remove_images(client, {facts.HOME: home}, safe)

        removed: list[str] = []
        for engine in tuple(self._engines.values()):
            with contextlib.suppress(CarboyError):
                removed += await engine.call(clear)
        return removed


def _layer(client: Any, name: str) -> int:
    found = client.api.containers(all=True, size=True, filters={"name": f"^/?{name}$"})
    return int(found[0].get("SizeRw") or 0) if found else 0


def _end(client: Any, name: str) -> None:
    state = client.api.inspect_container(name)["State"]
    if state.get("Paused"):
        client.api.unpause(name)
    if state.get("Running"):
        client.api.kill(name, "SIGKILL")
        client.api.wait(name, timeout=30)


def _remove_images(client: Any, wanted: dict[str, str], safe: frozenset[str]) -> list[str]:
    removed: list[str] = []
    for found in client.api.images(filters={"label": [f"{facts.KIND}=saved"]}):  # of two labels Podman 4 finds none
        labels = found.get("Labels") or {}
        if all(labels.get(name) == value for name, value in wanted.items()) and labels.get(facts.SESSION) not in safe:
            try:
                client.api.remove_image(found["Id"])
            except Exception as error:
                if getattr(error, "response", None) is None:
                    raise
                continue  # a container is made from it
            removed.append(f"image {(found.get('RepoTags') or [found['Id']])[0]}")
    return removed


def created(client: Any, wanted: dict[str, Any], *, rootless: bool, masked: tuple[str, ...] = ()) -> str:
    """A new container's id. Under a rootless Podman the agent's account is the user's own, so that files keep their
    owner; the SDK knows no word for that, nor for what is `masked`."""
    from docker.models.containers import _create_container_args  # type: ignore[attr-defined]  # what `create` sends

    arguments = _create_container_args({**wanted, "version": client.api._version})
    if rootless:
        arguments["host_config"]["UsernsMode"] = "keep-id"
    if masked:
        arguments["host_config"]["MaskedPaths"] = list(masked)
    return str(client.api.create_container(**arguments)["Id"])


def _place(
    known: Facts, found: dict[str, Any], engine: Engine, name: str, shown: covering.Shown | None
) -> dict[str, Any]:
    own = Account.of_this_process()
    place = Place(
        url=known.url,
        id=known.id,
        pid=int(found["State"]["Pid"]),
        image=known.image,
        uid=known.uid or own.uid,  # 0: made by an older carboy
        gid=known.gid or own.gid,
        engine=f"{name}/{known.runtime}" if known.own_kernel else name,
        rootless=engine.rootless,
        bounds=known.bounds,
        carried=known.carried,
        walled=known.own_kernel,
        shown=tuple((one.target, one.writable) for one in shown.binds) if shown else (),
        pins=tuple(shown.pins) if shown else (),
    )
    return place.to_json()
