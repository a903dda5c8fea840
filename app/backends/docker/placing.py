"""Small files for a container, and its agent's account among the image's own. Nothing but the standard library: where a
container cannot be entered, its own Python (3.9 or later) runs this text, with the files as its input.
"""

from __future__ import annotations

import base64
import json
import os
import sys

NO_RESOLVER = b"# there is no name server: the proxy resolves\n"
_MAX_ACCOUNTS = 1024 * 1024


def accounts(name: str, uid: int, gid: int, home: str) -> dict[str, bytes]:
    """/etc/passwd and /etc/group as they are here, without one of that name or number, and with the agent's."""
    user = f"{name}:x:{uid}:{gid}:{name}:{home}:/bin/sh\n"
    return {
        "/etc/passwd": _with("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", name, uid, user),
        "/etc/group": _with("/etc/group", "root:x:0:\n", name, gid, f"{name}:x:{gid}:\n"),
    }


def _with(path: str, root: str, name: str, number: int, line: str) -> bytes:
    try:
        with open(path, "rb") as file:
            text = file.read(_MAX_ACCOUNTS).decode(errors="replace")
    except OSError:
        text = root
    kept = [old for old in text.splitlines() if old.split(":")[0] != name and f":{number}:" not in old[:200]]
    return ("\n".join(kept) + "\n" + line).encode()


def place() -> None:
    """The program: what stands on standard input, as JSON. Nothing of the agent has run: what lies here is ours."""
    given = json.load(sys.stdin)
    os.umask(0o022)
    for path in given["removed"]:
        if os.path.lexists(path):
            os.unlink(path)
    files = [(path, base64.b64decode(content), mode) for path, content, mode in given["files"]]
    files += [(path, content, 0o644) for path, content in accounts(*given["account"]).items()]
    for path, content, mode in files:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.islink(path):
            os.unlink(path)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, mode)
