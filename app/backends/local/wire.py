"""BoxSpec and Command as JSON, for the channel between controller and session holder. Pure; strict when reading."""

import base64
from pathlib import Path
from typing import Any

from app.backends.base import BoxSpec, Command, FileIn, Mount
from app.core.schema import Limits, Mask


def spec_to_json(spec: BoxSpec) -> dict[str, Any]:
    return {
        "slug": spec.slug,
        "session_id": spec.session_id,
        "state": str(spec.state),
        "run": str(spec.run),
        "project": None if spec.project is None else str(spec.project),
        "project_writable": spec.project_writable,
        "project_copy": None if spec.project_copy is None else str(spec.project_copy),
        "home": spec.home,
        "mounts": [[str(mount.source), mount.target, mount.writable] for mount in spec.mounts],
        "files": [[file.target, base64.b64encode(file.content).decode(), file.mode] for file in spec.files],
        "env": spec.env,
        "hostname": spec.hostname,
        "listen_port": spec.listen_port,
        "limits": spec.limits.model_dump(mode="json"),
        "masks": [mask.model_dump(mode="json") for mask in spec.masks],
        "engine": spec.engine,
        "image": spec.image,
        "image_base": spec.image_base,
        "runtime": spec.runtime,
        "tty": spec.tty,
    }


def spec_from_json(data: dict[str, Any]) -> BoxSpec:
    """Raises KeyError, TypeError or ValueError for anything else than what `spec_to_json` makes."""
    return BoxSpec(
        slug=str(data["slug"]),
        session_id=str(data["session_id"]),
        state=Path(data["state"]),
        run=Path(data["run"]),
        project=None if data["project"] is None else Path(data["project"]),
        project_writable=bool(data["project_writable"]),
        project_copy=None if data["project_copy"] is None else Path(data["project_copy"]),
        home=str(data["home"]),
        mounts=tuple(Mount(Path(source), str(target), bool(writable)) for source, target, writable in data["mounts"]),
        files=tuple(
            FileIn(str(target), base64.b64decode(content, validate=True), int(mode))
            for target, content, mode in data["files"]
        ),
        env={str(name): str(value) for name, value in data["env"].items()},
        hostname=str(data["hostname"]),
        listen_port=int(data["listen_port"]),
        limits=Limits.model_validate(data["limits"]),
        masks=tuple(Mask.model_validate(mask) for mask in data["masks"]),
        engine=data["engine"],
        image=data["image"],
        image_base=data["image_base"],
        runtime=data["runtime"],
        tty=bool(data["tty"]),
    )


def command_to_json(command: Command) -> dict[str, Any]:
    return {
        "argv": list(command.argv),
        "cwd": command.cwd,
        "env": command.env,
        "rows": command.rows,
        "cols": command.cols,
        "tty": command.tty,
    }


def command_from_json(data: dict[str, Any]) -> Command:
    """Raises KeyError, TypeError or ValueError for anything else than what `command_to_json` makes."""
    argv = tuple(str(word) for word in data["argv"])
    if not argv:
        raise ValueError("a command has at least its program")
    return Command(
        argv=argv,
        cwd=str(data["cwd"]),
        env={str(name): str(value) for name, value in data["env"].items()},
        rows=int(data["rows"]),
        cols=int(data["cols"]),
        tty=bool(data["tty"]),
    )
