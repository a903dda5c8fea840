"""`python -m app.backends.local.trial ENGINE`: builds a sandbox, runs `true` in it, and prints what came of it as
JSON. Leaves nothing behind."""

import json
import os
import sys
import tempfile
from pathlib import Path

from app.backends.base import BoxSpec, Command
from app.backends.local.sandbox import Sandbox
from app.errors import CarboyError


def trial(engine: str) -> dict[str, object]:
    """Whether the engine works here, why not, and what is to be said about its sandboxes."""
    with tempfile.TemporaryDirectory(prefix="carboy-trial-") as folder:
        base = Path(folder)
        spec = BoxSpec("trial", f"trial-{os.getpid()}", base / "state", base / "run", None, engine=engine)
        try:
            sandbox = Sandbox.build(spec)
        except (CarboyError, OSError) as error:
            return {"works": False, "reason": str(error), "notes": []}
        try:
            child = sandbox.spawn(Command(("/bin/true",), "/", tty=False))
            os.close(child.output_fd)
            os.close(child.pidfd)
            code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
            return {"works": code == 0, "reason": f"`true` ended with {code}" if code else "", "notes": sandbox.notes}
        except CarboyError as error:
            return {"works": False, "reason": str(error), "notes": []}
        finally:
            sandbox.close()


if __name__ == "__main__":
    print(json.dumps(trial(sys.argv[1])))
