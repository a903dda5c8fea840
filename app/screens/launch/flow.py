"""The launch's thread: the draft, the steps in their order, and the request that they make. Screens change the draft
through here, so each of them sees what the others did."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from app.core.draft import AUTO, Draft
from app.paths import present_folder

if TYPE_CHECKING:
    from app.carboy import CarboyApp
    from app.core.model import BackendReport, Catalogue, LaunchRequest, Preflight

STEPS = ("agent", "bottles", "task", "preflight", "start")


class Flow:
    """One launch being put together. Typed secrets live here, in memory, until it ends."""

    def __init__(self, app: CarboyApp) -> None:
        self.app = app
        backend = os.environ.get("CARBOY_BACKEND", "")
        self.draft = Draft(cwd=present_folder(), backend="" if backend == AUTO else backend)
        self.catalogue: Catalogue | None = None
        self.backends: tuple[BackendReport, ...] = ()
        """What the doctor found of each backend; empty until it has answered."""
        self.typed: dict[str, str] = {}
        self.rows, self.cols = 24, 80
        self.name_error = ""

    def request(self, preflight: Preflight | None = None) -> LaunchRequest:
        """The draft as the controller takes it. What the preflight asked for by name comes from this environment."""
        from app.core.model import LaunchRequest
        from sidecar.secret import Secret

        draft = self.draft
        wanted = preflight.wants_env if preflight else ()
        return LaunchRequest.model_validate(
            {
                "agent": draft.agent,
                "command": draft.command,
                "bottles": draft.bottles,
                "label": draft.label.strip() or None,
                "color": draft.color or None,
                "backend": draft.backend or None,
                "model": draft.model.strip() or None,
                "budget": _budget(draft.budget),
                "shutdown": draft.shutdown or None,
                "unattended": draft.unattended or None,
                "name": preflight.slug if preflight else None,
                "cwd": draft.cwd,
                "prompt": draft.prompt.strip() or None,
                "rows": self.rows,
                "cols": self.cols,
                "env": {name: Secret(os.environ[name]) for name in wanted if name in os.environ},
                "secrets": {name: Secret(value) for name, value in self.typed.items() if value},
                "confirm": tuple(sorted(draft.confirmed)),
            }
        )

    def forget(self) -> None:
        """Drop what was typed in secret."""
        self.typed.clear()


def _budget(text: str) -> dict[str, str]:
    """`claude=500k`, or `500k` for the bottle's own provider."""
    name, equals, amount = text.strip().partition("=")
    if equals:
        return {name.strip(): amount.strip()}
    return {"": name} if name else {}


def start(app: CarboyApp, task: str = "") -> None:
    """Open the first step; with a task that was chosen already."""
    from app.screens.launch.agent import AgentStep

    flow = Flow(app)
    flow.draft = replace(flow.draft, prompt=task)
    app.push_screen(AgentStep(flow))
