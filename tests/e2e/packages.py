"""The real CLIs from npm at pinned versions, each installed once into a cache that outlives the tests.

Skips with the reason where npm is missing or cannot be reached.
"""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

PINNED = {
    "claude-code": "@anthropic-ai/claude-code@2.1.332",
    "codex": "@openai/codex@0.171.0",
    "opencode": "opencode-ai@1.18.33",
    "gemini": "@google/gemini-cli@0.61.0",
    "pi": "@earendil-works/pi-coding-agent@1.6.0",
    "node": "node@22",
    "sandbox-runtime": "@anthropic-ai/sandbox-runtime@0.0.78",
    "mcp-conformance": "@modelcontextprotocol/conformance@0.1.16",
}


def cache() -> Path:
    return Path(os.environ.get("CARBOY_TEST_CACHE") or "~/.cache/carboy-tests").expanduser()


def installed(name: str) -> Path:
    """The folder with the CLI's command."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    package = PINNED[name]
    prefix = cache() / f"{name}-{package.rpartition('@')[2]}"
    prefix.mkdir(parents=True, exist_ok=True)
    done = prefix / "installed"
    with (prefix / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
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
