"""A sidecar with one broken function: `FAULT=module:Class.method:how` in the environment, how = raise, hang,
later, full or stream."""

import asyncio
import importlib
import os
from typing import Any

from sidecar import guard
from sidecar.__main__ import main


def broken(how: str) -> Any:
    def sync(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("broken on purpose: sk-not-for-the-log")

    async def hang(*args: Any, **kwargs: Any) -> Any:
        await asyncio.Event().wait()

    async def later(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        raise RuntimeError("broken on purpose, later")

    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(28, "the disk is full")

    return {"raise": sync, "full": full, "hang": hang, "later": later}[how]


def break_it(fault: str) -> None:
    where, name, how = fault.split(":")
    target: Any = importlib.import_module(where)
    *path, last = name.split(".")
    for part in path:
        target = getattr(target, part)
    if how == "stream":
        setattr(target, last, lambda *_: broken("raise"))
    else:
        setattr(target, last, broken(how))


if __name__ == "__main__":
    guard.Guard.__init__.__kwdefaults__["hook_seconds"] = 1.0
    from sidecar.egress.proxy import Proxy

    Proxy.__init__.__kwdefaults__["hook_seconds"] = 1.0
    break_it(os.environ["FAULT"])
    main()
