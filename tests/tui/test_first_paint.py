"""Nothing heavy is loaded before the first frame, and the first frame says what it is."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = """
import asyncio, sys
from app.carboy import CarboyApp

HEAVY = ("pydantic", "aiohttp", "orjson", "mitmproxy", "docker", "keyring", "watchfiles", "app.client",
         "app.terminal.emulator", "app.screens.launch", "textual.widgets._text_area")
seen = []

async def nobody():
    seen.extend(name for name in HEAVY if name in sys.modules)
    app.exit()
    raise OSError("nobody")

app = CarboyApp(nobody)

async def main():
    async with app.run_test(size=(120, 40)):
        while not app._exit:
            await asyncio.sleep(0.01)

asyncio.run(main())
print("HEAVY", *seen)
"""


def test_the_first_frame_needs_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "HEAVY" in done.stdout, done.stdout + done.stderr
    assert done.stdout.split("HEAVY", 1)[1].split() == []
