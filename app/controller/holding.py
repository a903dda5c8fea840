"""A sandbox that outlived its session holder gets another one: the agent goes on, and can be attached to again.
Decides nothing about sessions; the registry says when."""

import logging

from app.backends.base import Backend, Box
from app.controller.sensitive import SENSITIVE, packed
from app.controller.session import Session
from app.errors import CarboyError
from app.processes.identity import kill_and_wait, same
from sidecar.secret import Secret

log = logging.getLogger(__name__)

NOTE = "its session holder was killed: what it printed before was read again from the engine"


async def held_again(session: Session, backend: Backend) -> Box | None:
    """The session's sandbox with a new holder; None where the sandbox is gone as well."""
    if session.view.state not in ("running", "frozen"):
        return None
    try:
        box = await backend.rehold(session.slug, session.id, session.state_folder, session.run_folder)
        if box is not None:
            await box.keep(_kept(session))
    except (CarboyError, OSError, TimeoutError) as error:
        log.warning("%s gets no new session holder: %s", session.slug, error)
        return None
    if box is not None:
        log.warning("%s has a new session holder", session.slug)
        session.show(notes=(*(note for note in session.view.notes if note != NOTE), NOTE))
    return box


def _kept(session: Session) -> dict[str, Secret]:
    """What a restarted sidecar needs, as far as this controller knows it."""
    found = {f"git_key:{name}": key for name, key in session.git_keys.items()}
    if session.ca_key is not None and session.canary is not None:
        found |= {"ca_key": session.ca_key, "canary": session.canary}
    if session.sensitive is not None:
        found[SENSITIVE] = packed(session.sensitive)
    return found


async def clear(session: Session) -> list[str]:
    """End what is left of a session that is over; a line for each."""
    removed: list[str] = []
    for name, process in (("sidecar", session.record.sidecar), ("session holder", session.record.holder)):
        if process is not None and same(process.identity):
            await kill_and_wait(process.identity)
            removed.append(f"the {name} of {session.slug}")
    return removed
