"""A sidecar that somebody else has taken over: asked how it is, it tries what would harm its session's holder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sidecar.__main__ import Sidecar, main


def tried(attack: Callable[[], object]) -> bool:
    try:
        attack()
    except OSError:
        return False
    return True


def attacks(run: Path) -> dict[str, Callable[[], object]]:
    """The holder's socket lies beside the sidecar's own: in its place, the controller's words come here."""
    return {
        "make": (run / "made").touch,
        "link": lambda: (run / "link").symlink_to("/tmp"),
        "read": lambda: list(run.iterdir()),
        "take the holder's place": lambda: (run / "control.sock").rename(run / "holder.sock"),
        "remove": (run / "holder.sock").unlink,
    }


async def handle(self: Sidecar, op: str, body: dict[str, Any], fds: list[int]) -> Any:
    if op != "health":
        return await usual(self, op, body, fds)
    run = Path(str(body["run"]))
    return {"done": [name for name, attack in attacks(run).items() if tried(attack)]}


if __name__ == "__main__":
    usual = Sidecar.handle
    Sidecar.handle = handle
    main()
