"""What every end-to-end test works with: the real CLI from npm, a pretend vendor, and a carboy of its own.

Nothing here replaces a part of carboy: the controller is the real process, the bottle a real sandbox, the agent the
package as its vendor ships it.
"""

import fcntl
import os
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from app.demo.pretend import anthropic
from app.demo.pretend.script import Script
from app.demo.pretend.server import PretendServer, in_thread
from tests.e2e.world import World

CLAUDE_VERSION = "2.1.329"


def cache() -> Path:
    return Path(os.environ.get("CARBOY_TEST_CACHE") or "~/.cache/carboy-tests").expanduser()


@pytest.fixture(scope="session")
def claude_bin() -> Path:
    """The folder with `claude`, installed once from npm; skips with the reason where npm cannot be reached."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    prefix = cache() / f"claude-code-{CLAUDE_VERSION}"
    prefix.mkdir(parents=True, exist_ok=True)
    done = prefix / "installed"
    with (prefix / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            package = f"@anthropic-ai/claude-code@{CLAUDE_VERSION}"
            ran = subprocess.run(
                [npm, "install", "--no-fund", "--no-audit", "--prefix", prefix, package],
                capture_output=True,
                text=True,
                check=False,
                timeout=500,
                stdin=subprocess.DEVNULL,
            )
            if ran.returncode:
                pytest.skip(f"npm could not fetch {package}: {ran.stderr.strip()[-300:]}")
            done.touch()
    return prefix / "node_modules/.bin"


@pytest.fixture
def worlds(claude_bin: Path) -> Iterator[Callable[[Script], World]]:
    """Makes worlds, and ends them."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(anthropic.HOST).configure_cert(tls)
    with ExitStack() as stack:

        def make(script: Script) -> World:
            root = Path(tempfile.mkdtemp(prefix="cb-"))  # a short path: unix sockets have a limit
            stack.callback(shutil.rmtree, root, ignore_errors=True)
            vendor = stack.enter_context(in_thread(PretendServer(script, tls=tls)))
            world = World(root, root / "my project", vendor)
            world.project.mkdir()
            world.env = {
                "CARBOY_HOME": str(world.home),
                "HOME": str(root),
                "PATH": os.pathsep.join([str(claude_bin), "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]),
                "LANG": "C.UTF-8",
                "PYTHONWARNINGS": "default",
            }
            world.write(authority.cert_pem.bytes())
            stack.callback(world.end)
            return world

        yield make
