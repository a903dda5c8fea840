"""The steps that are made inside a container before its agent starts: mounts, files, masks, listening socket, checks.

By root alone: the session holder itself where carboy runs as root, else a helper that the engine starts as root. The
same code as the local engine's, in the container's own namespaces. Forks; single-threaded.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from app.backends.base import BoxSpec, FileIn
from app.backends.docker import placing
from app.backends.local import checks, finish, mounts, stage
from app.backends.local.cover import Cover
from app.backends.local.identity import AGENT_NAME, Account
from app.backends.local.inside import Told, fork_and_ask
from app.backends.local.layout import PRIVATE, Bind
from sidecar.kernel import libc

STEP_SECONDS = 20.0
_HIDDEN = ("/sys", "/proc/1/mem", "/proc/1/task")
"""The host's hardware, as the local engine hides it; and the memory of the container's init, which runs as the agent's
own user."""
_KINDS = (("user", mounts.NEW_USER), ("net", mounts.NEW_NET), ("mnt", mounts.NEW_NS))
"""The user namespace first: what follows belongs to it."""


@dataclass(frozen=True)
class Place:
    """Where the container is, as the backend tells its holder."""

    url: str
    id: str
    pid: int
    image: str
    uid: int
    gid: int
    engine: str = "docker"
    rootless: bool = False
    """The container has a user namespace of its own, in which the agent's account is the user's."""
    bounds: str = ""
    """Shell words that bound the agent, where its engine has no control groups and so neither bounds nor pauses."""
    carried: bool = False
    """Its kernel is not this host's: it is not entered (decision 18). Then `pid` says nothing."""
    walled: bool = False
    """It has a kernel of its own, to which the engine gave no system call filter."""
    shown: tuple[tuple[str, bool], ...] = ()
    """Of a carried one: what must be mounted in it, and whether it may be written."""
    pins: tuple[str, ...] = ()
    """Of a carried one: folders of the project, relative to it, that are mounted onto themselves."""

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Place":
        return cls(
            str(data["url"]), str(data["id"]), int(data["pid"]), str(data["image"]),
            int(data["uid"]), int(data["gid"]), str(data["engine"]), bool(data.get("rootless")),
            str(data.get("bounds", "")), bool(data.get("carried")), bool(data.get("walled")),
            tuple((str(target), bool(writable)) for target, writable in data.get("shown", ())),
            tuple(str(pin) for pin in data.get("pins", ())),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Inside:
    """One container's namespaces, held open. `mapped`: the agent's account is not the owner of what is mounted."""

    def __init__(self, spec: BoxSpec, place: Place, *, mapped: bool) -> None:
        self._spec = spec
        self._place = place
        self._mapped = mapped
        self._account = Account(place.uid, place.gid, dropped=True)
        self._namespaces: list[tuple[int, int]] = []
        for name, kind in _KINDS if place.rootless else _KINDS[1:]:
            fd = os.open(f"/proc/{place.pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
            self._namespaces.append((fd, kind))

    def close(self) -> None:
        for fd, _ in self._namespaces:
            os.close(fd)
        self._namespaces = []

    def check(self, port: int) -> list[dict[str, Any]]:
        answer, _ = self._ask(partial(checks.run, port), (mounts.NEW_NET,), confined=True)
        return list(answer["checks"])

    def listen(self, port: int) -> int:
        """A listening socket once more, where the former one is gone."""
        kinds = (mounts.NEW_USER, mounts.NEW_NET)
        _, fds = self._ask(lambda: ({}, [finish.listen(port).detach()]), kinds)
        return fds[0]

    def finish(self, project: str | None) -> tuple[list[str], int]:
        """Everything. Returns the placeholders that stand in the project, and the listening socket."""
        namespaces: dict[tuple[int, int], int] = {}
        trees: list[tuple[Bind, int, bool]] = []
        try:
            for bind in self._binds(project):
                tree, folder = stage.take(bind, self._account, namespaces)
                trees.append((bind, tree, folder))
                attributes = mounts.ATTR_NOSUID | mounts.ATTR_NODEV
                mounts.set_attributes(tree, attributes | (0 if bind.writable else mounts.ATTR_RDONLY), recursive=True)
            kinds = (mounts.NEW_USER, mounts.NEW_NET, mounts.NEW_NS)
            answer, fds = self._ask(partial(self._last_touches, trees, project), kinds)
        finally:
            for fd in (*namespaces.values(), *(tree for _, tree, _ in trees)):
                os.close(fd)
        return list(answer["placeholders"]), fds[0]

    def _binds(self, project: str | None) -> list[Bind]:
        spec = self._spec
        binds = [Bind(os.path.realpath(mount.source), mount.target, mount.writable) for mount in spec.mounts]
        binds.append(Bind(str((spec.state / "home").resolve()), spec.home, writable=True, mapped=self._mapped))
        if project is not None:
            shown = project if spec.project_copy is None else str(spec.project_copy.resolve())
            binds.append(Bind(str((spec.state / "private").resolve()), PRIVATE, writable=True, mapped=self._mapped))
            binds.append(Bind(shown, project, spec.project_writable, mapped=self._mapped))
        return binds

    def _last_touches(self, trees: list[tuple[Bind, int, bool]], project: str | None) -> Told:
        """Runs inside, as the host's root, before anything of the agent."""
        finish.prepare()
        finish.write_files(self._files())
        for bind, tree, folder in trees:
            target = Path(bind.target)
            target.parent.mkdir(parents=True, exist_ok=True)
            if folder:
                target.mkdir(exist_ok=True)
            elif not target.exists():
                target.touch()
            mounts.attach(tree, bind.target)
        standing: list[str] = []
        if project is not None:
            _keep_capabilities()
            self._account.become()  # what a mapped mount takes is made by whom it is mapped to
            cover = Cover(project, self._spec.project_writable)
            cover.apply(self._spec.masks)
            standing = cover.placeholders
        listener = finish.listen(self._spec.listen_port)
        finish.close_proc()
        for path in _HIDDEN:
            finish.hide(path)
        mounts.set_attributes("/run", mounts.ATTR_RDONLY)
        return {"placeholders": standing}, [listener.detach()]

    def _files(self) -> tuple[FileIn, ...]:
        """Those beyond the home, and an account for the agent among the image's own."""
        home = self._spec.home.rstrip("/") + "/"
        rest = [file for file in self._spec.files if not file.target.startswith(home)]
        placed = placing.accounts(AGENT_NAME, self._place.uid, self._place.gid, self._spec.home)
        placed["/etc/resolv.conf"] = placing.NO_RESOLVER
        return (*rest, *(FileIn(path, content) for path, content in placed.items()))

    def _ask(self, work: Any, kinds: Sequence[int], *, confined: bool = False) -> tuple[dict[str, Any], list[int]]:
        def joined() -> Told:
            libc.set_dumpable(False)
            os.umask(0o022)
            for fd, kind in self._namespaces:
                if kind in kinds:
                    mounts.enter(fd, kind)
                if kind == mounts.NEW_USER and kind in kinds:
                    os.setresgid(0, 0, 0)  # the container's own root: files made here are not the agent's
                    os.setresuid(0, 0, 0)
            os.chdir("/")
            if confined:
                self._account.become()
                libc.drop_capabilities()
                libc.no_new_privileges()
            return work()

        return fork_and_ask(joined, seconds=STEP_SECONDS)


def _keep_capabilities() -> None:
    """A change of uid takes none away from here on (capabilities(7))."""
    libc.prctl(libc.PR_SET_SECUREBITS, _NO_SETUID_FIXUP)


_NO_SETUID_FIXUP = 1 << 2  # linux/securebits.h
