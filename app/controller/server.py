"""The API's front door: the unix socket, who may come in, and how failures are answered.

Only the same user's processes get in (socket 0600 in a 0700 folder, and the peer's uid is checked besides). No
handler's exception reaches a client as anything but a `CarboyError` in JSON, and none stops the server.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from aiohttp import WSCloseCode, web

from app.build import HEADER, build
from app.controller import api, budget_api, changes_api, keeping_api, operator_api, proposal_api, streams
from app.controller.api import ERROR_HEADER, PARTS, Parts, answer, dump
from app.controller.streams import LAUNCHES, SOCKETS, Launches, internal
from app.core.slug import checked
from app.errors import NO_ROOM, CarboyError, NotFound, Refused, disk_full
from app.paths import private_folder
from sidecar.control import peer_uid

log = logging.getLogger(__name__)

MAX_BODY = 4 * 1024 * 1024
"""Largest request body: a launch with a long prompt."""

CONFLICTS = frozenset({"name_in_use", "wrong_state", "already_decided", "stale_view"})
SHUTDOWN_SECONDS = 2.0


class Activity:
    """Requests and streams that are open now. `changed` is called whenever one begins or ends."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.open = 0
        self.changed = changed

    def __enter__(self) -> None:
        self.open += 1
        self.changed()

    def __exit__(self, *_: object) -> None:
        self.open -= 1
        self.changed()


ACTIVITY: web.AppKey[Activity] = web.AppKey("activity", Activity)


def status_of(error: CarboyError) -> int:
    """The HTTP status that goes with an error."""
    if error.code in CONFLICTS:
        return 409
    if isinstance(error, Refused):
        return 403
    if isinstance(error, NotFound):
        return 404
    return 500 if error.code == "internal" else 400


@web.middleware
async def same_user(request: web.Request, handler: Any) -> web.StreamResponse:
    """Nobody but us. Without a known peer there is no answer."""
    sock = request.transport.get_extra_info("socket") if request.transport else None
    if sock is None or peer_uid(sock) != os.geteuid():
        log.warning("another user's process was turned away")
        raise web.HTTPForbidden
    with request.app[ACTIVITY]:
        return await handler(request)


@web.middleware
async def errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """Turn what handlers raise into answers."""
    try:
        return await handler(request)
    except CarboyError as error:
        refused = answer(error.as_dict(), status_of(error))
        # a WebSocket client sees a refused handshake's headers only
        refused.headers[ERROR_HEADER] = quote(dump(error.as_dict()))
        return refused
    except web.HTTPException as error:
        return answer(CarboyError(error.reason, "", "bad_request").as_dict(), error.status)
    except ConnectionError:
        raise
    except OSError as error:
        if error.errno in NO_ROOM:
            return answer(disk_full(str(error.filename or "a file")).as_dict(), 400)
        log.exception("%s %s failed", request.method, request.path)
        return answer(internal().as_dict(), 500)
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return answer(internal().as_dict(), 500)


@web.middleware
async def good_names(request: web.Request, handler: Any) -> web.StreamResponse:
    """A slug that cannot be one is not looked up anywhere."""
    slug = request.match_info.get("slug")
    if slug is not None:
        checked(slug)
    return await handler(request)


def _says_its_build(said: str) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def prepare(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers[HEADER] = said

    return prepare


class Server:
    """The API on `path`. `start`, then `close`."""

    def __init__(self, parts: Parts, path: Path, activity: Activity | None = None) -> None:
        self._path = path
        self._parts = parts
        app = web.Application(middlewares=[same_user, errors, good_names], client_max_size=MAX_BODY)
        app[PARTS], app[LAUNCHES], app[SOCKETS] = parts, Launches(), set()
        app[ACTIVITY] = activity or Activity()
        rooms = (streams, proposal_api, budget_api, operator_api, keeping_api, changes_api, api)
        app.add_routes([route for room in rooms for route in room.ROUTES])
        app.on_response_prepare.append(_says_its_build(build()))  # as it is now: files may change under us
        self._app = app
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        self._inode = 0

    async def start(self) -> None:
        """Listen. A socket left by a killed controller is replaced: the caller holds the lock."""
        private_folder(self._path.parent)
        sock = bind(self._path)
        self._inode = self._path.stat().st_ino
        await self._runner.setup()
        await web.SockSite(self._runner, sock).start()

    async def close(self) -> None:
        """Stop listening, end streams, undo launches under way. Bottles are left alone."""
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        await self._app[LAUNCHES].close()
        self._parts.bus.close()
        going = [item.close(code=WSCloseCode.GOING_AWAY, message=b"stopping") for item in set(self._app[SOCKETS])]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SHUTDOWN_SECONDS):
                await asyncio.gather(*going, return_exceptions=True)
        await self._runner.cleanup()

    @property
    def launching(self) -> int:
        return self._app[LAUNCHES].running


def bind(path: Path) -> socket.socket:
    """A listening socket at `path`, 0600 from its first moment."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        sock.bind(str(path))
        sock.listen(128)
    except BaseException:
        sock.close()
        raise
    finally:
        os.umask(old)
    sock.setblocking(False)
    return sock
