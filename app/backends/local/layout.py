"""What a sandbox shows, as data both engines build from: binds, temporary folders, links, small files. Pure but for
looking at what this host has; makes nothing."""

import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from app.backends.base import BoxSpec, FileIn, Mount
from app.backends.local.identity import AGENT_NAME, AGENT_UID
from app.errors import CarboyError

MIB = 1024 * 1024
TMP_SHARE = 4
"""A temporary folder may take a quarter of the bottle's memory: what lies there is memory."""
DEFAULT_MEMORY = 4096 * MIB  # hardening.md, limits
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/proc", "/dev", "/sys", "/run")
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC_FOLDERS = ("alternatives", "fonts", "java-11-openjdk", "java-17-openjdk", "java-21-openjdk", "ImageMagick-6")
_ETC_FILES = (
    "ld.so.cache", "ld.so.conf", "localtime", "os-release", "mime.types", "services", "protocols", "bash.bashrc",
    "profile", "inputrc", "debian_version", "ssl/openssl.cnf",
)  # fmt: skip
"""Copied, not mounted: every mount costs about a millisecond."""
_MAX_COPY = 1024 * 1024
PRIVATE = "/run/private"
"""Where what the agent writes to a masked file goes instead (backed by `state/private`)."""
_CERTIFICATES = "/etc/ssl/certs"


@dataclass(frozen=True)
class Bind:
    """`source` seen at `target`. `mapped`: as root, its owner's files are shown as the agent's own."""

    source: str
    target: str
    writable: bool = False
    mapped: bool = False


@dataclass(frozen=True)
class Tmpfs:
    target: str
    size: int
    mode: int = 0o755


@dataclass(frozen=True)
class Link:
    target: str
    to: str


@dataclass(frozen=True)
class Layout:
    """In the order in which things are made: temporary folders, then binds, parents before what lies in them."""

    hostname: str
    home: str
    project: str | None
    project_writable: bool
    tmpfs: tuple[Tmpfs, ...]
    binds: tuple[Bind, ...]
    links: tuple[Link, ...]
    files: tuple[FileIn, ...]

    def staged(self, sources: dict[str, str]) -> "Layout":
        """The same with other source paths, for binds that had to be prepared."""
        return replace(self, binds=tuple(replace(bind, source=sources[bind.source]) for bind in self.binds))


def plan(spec: BoxSpec) -> Layout:
    """The layout for `spec` on this host. Raises CarboyError for a project that cannot be shown safely."""
    project = None if spec.project is None else checked_project(spec)
    home = _absolute(spec.home, "home")
    memory = spec.limits.memory or DEFAULT_MEMORY
    inside = [file for file in spec.files if not _below(file.target, home)]
    binds = [*_runtime(inside), *(_mount(mount) for mount in spec.mounts)]
    binds.append(Bind(str((spec.state / "home").resolve()), home, writable=True, mapped=True))
    if project is not None:
        binds.append(Bind(str((spec.state / "private").resolve()), PRIVATE, writable=True, mapped=True))
        shown = project if spec.project_copy is None else str(spec.project_copy.resolve())
        binds.append(Bind(shown, project, spec.project_writable, mapped=True))
    return Layout(
        hostname=spec.hostname,
        home=home,
        project=project,
        project_writable=spec.project_writable,
        tmpfs=(
            Tmpfs("/tmp", max(memory // TMP_SHARE, 64 * MIB), 0o1777),  # noqa: S108 - the sandbox's own
            Tmpfs("/var/tmp", max(memory // TMP_SHARE, 64 * MIB), 0o1777),  # noqa: S108
            Tmpfs("/run", 16 * MIB, 0o755),
            Tmpfs("/dev/shm", max(memory // TMP_SHARE, 64 * MIB), 0o1777),  # noqa: S108
        ),
        binds=tuple(sorted(_distinct(binds), key=lambda bind: len(PurePosixPath(bind.target).parts))),
        links=_links(),
        files=(*_copied_files(), *_account_files(spec, home), *inside),
    )


def home_files(spec: BoxSpec) -> tuple[FileIn, ...]:
    """The files that belong below the home, with targets relative to it."""
    home = _absolute(spec.home, "home")
    return tuple(
        FileIn(os.path.relpath(file.target, home), file.content, file.mode)
        for file in spec.files
        if _below(file.target, home)
    )


def checked_project(spec: BoxSpec) -> str:
    """The project's real path. Raises CarboyError where it is missing, or showing it would show or break more."""
    given = spec.project or Path()
    try:
        real = given.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise CarboyError(f"The project {given} cannot be opened: {error}", "Name a folder that exists") from None
    if not real.is_dir():
        raise CarboyError(f"The project {given} is not a folder", "Start carboy in the folder to work on")
    if not os.access(real, os.R_OK | os.X_OK):
        raise CarboyError(f"The project {real} is not readable", f"Give yourself access: chmod u+rx '{real}'")
    path = str(real)
    for system in (*_SYSTEM, spec.home):
        if _below(system, path) or (_below(path, system) and system not in ("/run", spec.home)):
            raise CarboyError(
                f"The project {path} cannot be shown in a bottle: {system} has another meaning there",
                "Move the work into a folder of its own",
            )
    for own in (spec.state, spec.run):
        if _below(str(own.resolve()), path):
            raise CarboyError(
                f"The project {path} contains carboy's own state, which a bottle must never reach",
                "Choose a project below your home folder, not the home folder itself",
            )
    return path


def _mount(mount: Mount) -> Bind:
    source = os.path.realpath(mount.source)
    if not os.path.exists(source):
        raise CarboyError(f"{mount.source} is missing", "It is part of what the agent needs to run; install it again")
    # the owner's private files in it (a CLI installed with a tight umask) are the agent's to read
    return Bind(source, _absolute(mount.target, "mount"), mount.writable, mapped=mount.writable)


def _absolute(path: str, what: str) -> str:
    if not path.startswith("/") or "\0" in path or ".." in PurePosixPath(path).parts:
        raise CarboyError(f"The bottle's {what} needs an absolute path: {path!r}")
    return os.path.normpath(path)


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _distinct(binds: list[Bind]) -> list[Bind]:
    """The last bind for a target wins."""
    return list({bind.target: bind for bind in binds}.values())


def _runtime(inside: list[FileIn]) -> list[Bind]:
    """The host's programs and the parts of /etc that they need, all read-only."""
    binds = [Bind("/usr", "/usr")]
    binds += [Bind(f"/{name}", f"/{name}") for name in _MERGED if _real_folder(f"/{name}")]
    folders = [f"/etc/{name}" for name in _ETC_FOLDERS]
    binds += [Bind(os.path.realpath(folder), folder) for folder in folders if os.path.isdir(folder)]
    if not any(_below(file.target, _CERTIFICATES) for file in inside) and os.path.isdir(_CERTIFICATES):
        binds.append(Bind(_CERTIFICATES, _CERTIFICATES))
    return binds


def _real_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _links() -> tuple[Link, ...]:
    """The links of a merged /usr, as the host has them."""
    return tuple(Link(f"/{name}", os.readlink(f"/{name}")) for name in _MERGED if os.path.islink(f"/{name}"))


def _copied_files() -> tuple[FileIn, ...]:
    files: list[FileIn] = []
    for path in (Path("/etc") / name for name in _ETC_FILES):
        try:
            if path.is_file() and path.stat().st_size <= _MAX_COPY:
                files.append(FileIn(str(path), path.read_bytes()))
        except OSError:  # not for everybody's eyes: then not for a bottle's
            continue
    return tuple(files)


def _account_files(spec: BoxSpec, home: str) -> tuple[FileIn, ...]:
    """An /etc of its own: the host's accounts, hosts and resolvers are none of the bottle's business."""
    shell = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
    nobody = "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    agent = f"{AGENT_NAME}:x:{AGENT_UID}:{AGENT_UID}:{AGENT_NAME}:{home}:{shell}\n"
    texts = {
        "/etc/passwd": f"root:x:0:0:root:/root:/bin/sh\n{agent}{nobody}",
        "/etc/group": f"root:x:0:\n{AGENT_NAME}:x:{AGENT_UID}:\ntty:x:5:\nnogroup:x:65534:\n",
        "/etc/hosts": f"127.0.0.1 localhost {spec.hostname}\n::1 localhost ip6-localhost\n",
        "/etc/hostname": spec.hostname + "\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\n",
        "/etc/resolv.conf": "# there is no name server: the proxy resolves\n",
        "/etc/host.conf": "multi on\n",
        "/etc/shells": "/bin/sh\n/bin/bash\n",
    }
    return tuple(FileIn(path, text.encode()) for path, text in texts.items())
