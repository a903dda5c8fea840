"""A controller's sessions in a process of their own, to be killed: launches one bottle and waits.

`python -m tests.integration.stand_in HOME SCRIPT [BACKEND [WORK]]` prints each step, then `running`. With WORK
`commit` it then takes a snapshot, with `resume` it ends the bottle and goes on with it; each of their steps is printed.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from app.core.model import LaunchStep
from app.paths import Paths
from tests.integration.launching import rig


async def main(home: str, script: str, backend: str = "local", work: str = "") -> None:
    async with rig(Paths.resolve({**os.environ, "CARBOY_HOME": home})) as real:
        await real.sessions.adopt()
        await real.sessions.zygote.start()
        print("ready", flush=True)

        def tell(step: LaunchStep) -> None:
            print(step.step, step.state, flush=True)

        await real.sessions.launch(real.request(script, backend=backend), tell)
        print("running", flush=True)
        if work == "commit":
            _tell_steps()
            await real.sessions.keeping.commit("one")
        elif work == "resume":
            kept = real.paths.session_state("one") / "home" / "kept"
            while not kept.exists():  # what the agent does first: else there is nothing to lose
                await asyncio.sleep(0.01)
            await real.sessions.kill("one")
            print("killed", flush=True)
            await real.sessions.launch(real.request("", resume="one"), tell)
        print("done", flush=True)
        await asyncio.Event().wait()


def _tell_steps() -> None:
    """A snapshot's parts, which it tells nobody: printed before and after each."""
    from app.backends import archives
    from app.backends.docker.backend import DockerBackend
    from app.controller import saved

    def told(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def work(*args: Any, **more: Any) -> Any:
            print(name, "running", flush=True)
            time.sleep(0.2)  # long enough to be killed in
            result = real(*args, **more)
            print(name, "done", flush=True)
            time.sleep(0.2)
            return result

        return work

    archives.pack = told("pack", archives.pack)
    saved.keep = told("keep", saved.keep)
    commit = DockerBackend.commit

    async def image(self: DockerBackend, *args: Any) -> tuple[str, str]:
        print("image running", flush=True)
        found = await commit(self, *args)
        print("image done", flush=True)
        await asyncio.sleep(0.2)
        return found

    DockerBackend.commit = image


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
