"""What every end-to-end test works with: the real CLI from npm, a pretend vendor, and a carboy of its own.

Nothing here replaces a part of carboy: the controller is the real process, the bottle a real sandbox, the agent the
package as its vendor ships it.
"""

import os
import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from app.demo.pretend.script import Script
from app.demo.pretend.server import PretendServer, in_thread
from sidecar.prepared import VARIABLE
from tests.e2e.packages import installed
from tests.e2e.world import CLAUDE, Agent, World

SYSTEM_PATH = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin")


@pytest.fixture(scope="session")
def claude_bin() -> Path:
    """The folder with `claude`."""
    return installed("claude-code")


@pytest.fixture
def worlds() -> Iterator[Callable[..., World]]:
    """Makes worlds, and ends them."""
    authority = trustme.CA()
    with ExitStack() as stack:

        def make(script: Script, agent: Agent = CLAUDE) -> World:
            folders = [str(installed(package)) for package in agent.packages]
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(*agent.hosts).configure_cert(tls)
            root = Path(tempfile.mkdtemp(prefix="cb-"))  # a short path: unix sockets have a limit
            stack.callback(shutil.rmtree, root, ignore_errors=True)
            vendor = stack.enter_context(in_thread(PretendServer(script, tls=tls)))
            world = World(root, root / "my project", vendor, agent)
            world.project.mkdir()
            world.env = {
                "CARBOY_HOME": str(world.home),
                "HOME": str(root),
                "PATH": os.pathsep.join([*folders, *SYSTEM_PATH]),
                "LANG": "C.UTF-8",
                "PYTHONWARNINGS": "default",
                VARIABLE: os.environ[VARIABLE],  # the compiled rules, shared by all tests
            }
            world.write(authority.cert_pem.bytes())
            stack.callback(world.end)
            return world

        yield make
