"""Where carboy keeps things: config, state and runtime folders, and what lies in them. Creates nothing by itself
but private folders, and refuses one that another user owns."""

import contextlib
import hashlib
import os
import pwd
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from app.errors import CarboyError

MAX_RUN_PATH = 60
"""Longest runtime folder in bytes: a unix socket's path is limited to 104 bytes on macOS and 108 on Linux
(sys/un.h), and `/<session id>/control.sock` follows."""


_PLACES = ("CARBOY_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")


def absolute(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment as it means the same to a process that works in another folder."""
    return {
        name: str(Path(value).expanduser().absolute()) if value and name in _PLACES else value
        for name, value in environ.items()
    }


@dataclass(frozen=True)
class Paths:
    """carboy's three folders. `resolve()` finds them for this user and environment."""

    config: Path
    state: Path
    run: Path

    @classmethod
    def resolve(cls, environ: dict[str, str] | None = None) -> "Paths":
        """The folders for this environment: below `CARBOY_HOME` if it is set, else the system's own places."""
        env = absolute(os.environ if environ is None else environ)
        home = env.get("CARBOY_HOME")
        if home:
            base = Path(home)
            return cls(base / "config", base / "state", _short(base / "run"))
        config = Path(env.get("XDG_CONFIG_HOME") or platformdirs.user_config_dir()) / "carboy"
        state = Path(env.get("XDG_STATE_HOME") or platformdirs.user_state_dir()) / "carboy"
        runtime = env.get("XDG_RUNTIME_DIR")
        run = Path(runtime) / "carboy" if runtime and _ours_alone(runtime) else _for_state(state)
        return cls(config, state, _short(run))

    @property
    def agents(self) -> Path:
        return self.config / "agents"

    @property
    def bottles(self) -> Path:
        return self.config / "bottles"

    @property
    def settings(self) -> Path:
        return self.config / "settings.yml"

    @property
    def database(self) -> Path:
        return self.state / "carboy.db"

    @property
    def log(self) -> Path:
        return self.state / "controller.log"

    @property
    def controller_socket(self) -> Path:
        return self.run / "controller.sock"

    def session_state(self, slug: str) -> Path:
        """What must outlive the session: record, spool, home, transcript."""
        return self.state / "bottles" / slug

    def session_run(self, session_id: str) -> Path:
        """Sockets of one session. Keyed by the short session id, since a slug may be too long for a socket path."""
        return self.run / session_id


def private_folder(path: Path) -> Path:
    """Make `path` (and its parents) a folder of ours with mode 0700 and return it.

    Raises CarboyError if it is a symlink, not a folder, or another user's: a runtime folder that somebody else
    prepared would let them answer in our place.
    """
    with contextlib.suppress(FileExistsError):  # raised for what is no folder
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    info = check_owner(path)
    if stat.S_IMODE(info.st_mode) & 0o077:
        path.chmod(0o700)
    return path


def check_owner(path: Path) -> os.stat_result:
    """Raises CarboyError where `path` is not a folder of this user's, and FileNotFoundError where it is not there."""
    info = path.lstat()
    if not stat.S_ISDIR(info.st_mode):
        raise CarboyError(f"{path} is not a folder", "Remove it, or set CARBOY_HOME to another place", "paths")
    if info.st_uid != os.geteuid():
        raise CarboyError(f"{path} belongs to another user", "Remove it, or set CARBOY_HOME to another place", "paths")
    return info


def _ours_alone(runtime: str) -> bool:
    """Whether the system's runtime folder is as its specification has it. What `su` left of another user's is not: its
    owner could put another folder in ours' place at any moment, also once we have looked."""
    try:
        info = os.stat(runtime)
    except OSError:
        return False
    return info.st_uid == os.geteuid() and not info.st_mode & 0o022 and os.access(runtime, os.W_OK)


def _for_state(state: Path) -> Path:
    """Where the system gives no runtime folder. What lies elsewhere than the account's own state has another one: a
    controller keeps to one state folder, and would answer for the other."""
    return _tmp() if state == _usual_state() else _tmp(state)


def _usual_state() -> Path | None:
    """The account's own state folder, whatever the environment says."""
    try:
        home = pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return None
    return Path(home) / ("Library/Application Support" if sys.platform == "darwin" else ".local/state") / "carboy"


def _tmp(of: Path | None = None) -> Path:
    """A folder of this user's in the temp folder itself, where nobody else can put another in its place."""
    name = f"carboy-{os.geteuid()}"
    return Path(tempfile.gettempdir()) / (f"{name}-{hashlib.sha256(os.fsencode(of)).hexdigest()[:12]}" if of else name)


def _short(run: Path) -> Path:
    """`run`, or a stand-in in the temp folder where its path is too long for unix sockets."""
    return run if len(os.fsencode(run)) <= MAX_RUN_PATH else _tmp(run)


def present_folder() -> str:
    """Where we are. A folder that was removed under us keeps its name: what needs it says that it is gone."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return os.environ.get("PWD") or "/"
