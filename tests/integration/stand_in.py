"""A controller's sessions in a process of their own, to be killed: launches one bottle and waits.

`python -m tests.integration.stand_in HOME SCRIPT` prints each step, then `running`.
"""

import asyncio
import os
import sys

from app.core.model import LaunchStep
from app.paths import Paths
from tests.integration.launching import rig


async def main(home: str, script: str) -> None:
    async with rig(Paths.resolve({**os.environ, "CARBOY_HOME": home})) as real:
        await real.sessions.adopt()
        await real.sessions.zygote.start()
        print("ready", flush=True)

        def tell(step: LaunchStep) -> None:
            print(step.step, step.state, flush=True)

        await real.sessions.launch(real.request(script), tell)
        print("running", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
