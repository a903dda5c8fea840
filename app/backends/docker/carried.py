"""A container that cannot be entered, as its session holder has it: one with a kernel of its own (gVisor), or of an
engine in a virtual machine. The same face as `Container`.

What it is shown are the engine's own mounts; its way out is a stream (`carrier`); files, checks and the start of the
agent go by the engine's `exec`. What `covering` could only ask for is proved from inside before the agent starts.
"""

import base64
import contextlib
import json
import os
import secrets
import select
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from app.backends.base import Check, Command
from app.backends.docker import carrier, covering, hijack, placing, script, walling
from app.backends.docker.entered import Container
from app.backends.docker.hijack import EngineGone
from app.backends.local import checks
from app.backends.local.identity import AGENT_NAME
from app.backends.local.layout import checked_project
from app.errors import CarboyError

EGRESS = "egress.sock"
"""In the session's runtime folder: where the sidecar accepts."""
READY_SECONDS = 30.0
BACKLOG = 512
DEVICES = ("/dev/fuse", "/dev/net/tun", "/dev/kvm")
"""What a kernel of its own may offer to all."""
_LOOK = (
    'made=$1; shift; : >"$made"; for path do [ -e "$path" ] || printf "%s\\n" "$path"; done; cat /proc/self/mountinfo'
)


class Carried(Container):
    _carrier = -1
    _told = -1

    def listen(self, port: int) -> socket.socket:
        del port
        if self._listener is None:
            path = self._spec.run / EGRESS
            with contextlib.suppress(FileNotFoundError):
                path.unlink()  # of a sidecar that is gone
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(str(path))
            path.chmod(0o600)
            self._listener.listen(BACKLOG)
        return self._listener.dup()

    def check(self, port: int) -> list[Check]:
        text = f"{Path(checks.__file__).read_text()}\nimport json\nprint(json.dumps(run({port})[0]))\n"
        code, output = self._run([*carrier.PYTHON, text])
        try:
            found = json.loads(output)["checks"]
            return [Check(str(one["name"]), one["ok"] is True, str(one["detail"])[:200]) for one in found]
        except (ValueError, KeyError, TypeError):
            said = output[-300:].decode(errors="replace")
            raise CarboyError(f"The checks inside did not run (exit code {code}): {said}", "", "sandbox") from None

    def _gate(self, command: Command) -> Callable[[], bool]:
        if self._place.walled:
            walls = walling.words(ptrace=self._spec.limits.ptrace)
            command = replace(command, argv=(*walls, *command.argv))
        text = script.start_text(command, self._spec.env, self._place.bounds)
        return partial(self._start, text.encode())

    def _start(self, text: bytes) -> bool:
        code, said = hijack.run(self._socket, self._place.id, ["/bin/sh", "-c", script.TAKE], carrier.USER, text)
        if code:
            raise EngineGone(f"the agent could not be started: {said[:200].decode(errors='replace')}")
        return True

    def kill(self) -> None:
        super().kill()
        if not self._pumps and not self._again:  # nobody else would
            with contextlib.suppress(EngineGone):
                hijack.ask(self._socket, "POST", hijack.container(self._place.id, "kill?signal=SIGKILL"))

    def close(self) -> None:
        if self._carrier > 0:
            os.kill(self._carrier, signal.SIGKILL)
            os.waitpid(self._carrier, 0)
            self._carrier = -1
            os.close(self._told)
        super().close()

    # --- making it ----------------------------------------------------------------------------------------------------

    def _found(self) -> None:
        """One whose holder was killed: its agent runs; it gets a way out again."""
        self._carry()

    def _enter(self) -> None:
        self.listen(0).close()
        self._carry()
        self._prove()  # meanwhile the relay starts
        self._wait_for_relay()
        self._place_files()

    def _carry(self) -> None:
        self._told, telling = os.pipe()
        os.set_blocking(telling, False)
        self._carrier = os.fork()
        if self._carrier == 0:
            os.close(self._told)
            if self._listener is not None:
                self._listener.close()
            sidecar = str(self._spec.run / EGRESS)
            way = carrier.Way(self._socket, self._place.id, self._spec.listen_port, sidecar)
            carrier.run(way, partial(_tell, telling))
        os.close(telling)

    def _wait_for_relay(self) -> None:
        ready, _, _ = select.select([self._told], [], [], READY_SECONDS)
        said = os.read(self._told, 500).decode(errors="replace").split("\n")[0] if ready else "it did not start in time"
        if said == ".":
            return
        code, _ = self._run(["/bin/sh", "-c", "command -v python3"])
        if code:
            raise CarboyError(
                "The image has no python3, which a bottle that cannot be entered needs for its way out",
                "Add python3 to the image, or take `runtime` out of the bottle file",
                "image_python",
            )
        raise CarboyError(f"The relay in the container does not run: {said[:300]}", "Run `carboy doctor`", "sandbox")

    def _place_files(self) -> None:
        home = self._spec.home.rstrip("/") + "/"
        given = {
            "files": [
                (file.target, base64.b64encode(file.content).decode(), file.mode)
                for file in self._spec.files
                if not file.target.startswith(home)
            ],
            "removed": DEVICES if self._place.walled else (),
            "account": (AGENT_NAME, self._place.uid, self._place.gid, self._spec.home),
        }
        program = [*carrier.PYTHON, f"{Path(placing.__file__).read_text()}\nplace()\n"]
        code, said = self._run(program, carrier.USER, json.dumps(given).encode())
        if code:
            raise CarboyError(
                f"Files could not be placed: {said[-300:].decode(errors='replace')}", "Run `carboy doctor`", "sandbox"
            )

    def _prove(self) -> None:
        """Every mount is where it was asked for, and what is shown is what lies here. Raises CarboyError."""
        spec, word = self._spec, f".carboy-{secrets.token_hex(8)}"
        home = spec.state / "home"
        made, given = home / f"{word}-made", home / word
        project = None if spec.project is None else checked_project(spec)
        shown = project if spec.project_copy is None else str(spec.project_copy.resolve())
        given.touch(mode=0o644)
        try:
            with covering.words(shown or str(home), self._place.pins, word) as paths:
                inside = [f"{spec.home}/{word}", *(f"{project}/{path}" for path in paths)]
                look = ["/bin/sh", "-c", _LOOK, "sh", f"{spec.home}/{word}-made", *inside]
                _, output = self._run(look)
            lines = output.decode(errors="replace").splitlines()
            missing = [path for path in inside if path in lines]
            if missing or not made.is_file():
                raise CarboyError(
                    f"The engine shows something else than this host's folders: {', '.join(missing) or spec.home}",
                    "Share the folders with the engine (Docker Desktop: Settings, Resources, File sharing), or use the "
                    "local backend",
                    "not_shared",
                )
            _mounted(lines, self._place.shown)
        finally:
            for path in (made, given):
                path.unlink(missing_ok=True)

    def _run(self, command: list[str], user: str = "", given: bytes = b"") -> tuple[int, bytes]:
        try:
            agent = f"{self._place.uid}:{self._place.gid}"
            return hijack.run(self._socket, self._place.id, command, user or agent, given)
        except EngineGone as error:
            raise CarboyError(f"The engine: {error}", "Look at the engine's own log", "docker") from None


def _mounted(lines: list[str], wanted: tuple[tuple[str, bool], ...]) -> None:
    """By /proc/self/mountinfo (proc(5)): a mount whose way there led over a link is somewhere else."""
    found: dict[str, bool] = {}
    for fields in (line.split(" ") for line in lines):
        if len(fields) > 6:
            place = fields[4].encode().decode("unicode_escape").encode("latin-1").decode(errors="replace")
            found[place] = "rw" in fields[5].split(",")
    for target, writable in wanted:
        if target not in found or (found[target] and not writable):
            raise CarboyError(
                f"The engine did not mount what was asked for: {target}",
                "Another process may have changed the project meanwhile: try again",
                "sandbox",
            )


def _tell(pipe: int, text: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads it any more
        os.write(pipe, (text.replace("\n", " ") or ".").encode()[:400] + b"\n")
