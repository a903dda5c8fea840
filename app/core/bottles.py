"""A bottle's state in a glyph, a word and a tone, its title and one-line facts: the same on every screen. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from app.core.journal import Verdict
from app.core.text import printable
from app.core.units import elapsed

if TYPE_CHECKING:
    from app.core.model import BottleView

LIVE = ("launching", "running", "frozen", "stopping")
"""As `app.core.model.LIVE`, which would load pydantic before the first paint; a test holds them equal."""

_MARKS = {
    "launching": Verdict("◌", "starts", "changed"),
    "running": Verdict("▶", "works", "ok"),
    "frozen": Verdict("‖", "frozen", "changed"),
    "stopping": Verdict("◍", "stops", "asks"),
    "ended": Verdict("✓", "done", "quiet"),
    "stopped": Verdict("■", "stopped", "quiet"),
    "failed": Verdict("✗", "failed", "refused"),
    "lost": Verdict("✗", "lost", "refused"),
}
_DOING = {"waiting": Verdict("◆", "waits", "asks"), "idle": Verdict("▷", "idle", "quiet")}
_ARROW = " → "


def live(view: BottleView) -> bool:
    return view.state in LIVE


def lost(view: BottleView) -> str:
    """Why nothing is known of it now, in a sentence; empty where it is."""
    if not view.engine_gone or not live(view):
        return ""
    return f"its container engine does not answer. {start_engine(view)}"


def start_engine(view: BottleView) -> str:
    """How its container engine comes back, where systemd has it."""
    unit = "podman.socket" if view.engine == "podman" else "docker"
    return f"Start it: `systemctl start {unit}`, or as you did before"


def mark(view: BottleView) -> Verdict:
    """What the operator must know first: a missing sidecar before a working agent."""
    if lost(view):
        return Verdict("?", "lost", "refused")
    if view.state in ("running", "frozen"):
        if view.sidecar.state == "restarting":
            return Verdict("▲", "no network", "asks")
        if view.sidecar.state == "failed":
            return Verdict("▲", "sidecar down", "refused")
        if view.missing_secrets:
            return Verdict("▲", "no secret", "asks")
    if view.state == "running" and view.cut:
        return Verdict("⚑", "budget?", "asks") if view.cut == "ask" else Verdict("■", "cut off", "refused")
    if stalled(view):
        return Verdict("▲", "stalled", "asks")
    if view.state == "running" and view.fault:
        return Verdict("▲", "model error", "asks")
    if view.state == "running" and view.doing in _DOING:
        return _DOING[view.doing]
    found = _MARKS.get(view.state, Verdict("?", view.state, "quiet"))
    if view.state == "failed" and view.exit_code is not None:
        return Verdict(found.glyph, f"exit {view.exit_code}", found.tone)
    return found


def stalled(view: BottleView) -> bool:
    """It should do something, and does nothing: one that waits for its user only waits."""
    return view.stalled and view.doing not in _DOING


def works(view: BottleView) -> bool:
    """Its agent does something: it neither waits nor is kept from it."""
    return mark(view) == _MARKS["running"]


def name(view: BottleView) -> str:
    """The label that the operator gave, harmless and short."""
    return printable(view.label or view.slug, 63)


def title(view: BottleView) -> str:
    """`label (agent)`, as titles read everywhere."""
    agent = printable(view.agent, 63) if view.agent else printable(" ".join(view.command) or view.provider, 40)
    label = name(view)
    return label if label == agent else f"{label} ({agent})"


def missing(view: BottleView) -> str:
    """Which secrets the bottle's sidecar lacks, in a sentence; empty where it has all."""
    if not view.missing_secrets or not live(view):
        return ""
    names = ", ".join(printable(one, 60) for one in view.missing_secrets)
    return f"its sidecar was restarted without {names}: what needs it is refused until it is given again"


def lineage(view: BottleView) -> str:
    """`base → net → dev`: the lineage if it is known, else the bottles that were picked."""
    text = view.lineage.replace(" -> ", _ARROW) if view.lineage else " + ".join(view.bottles)
    return printable(text, 120)


def where(view: BottleView) -> str:
    """The backend and its isolation class: `local (bubblewrap): process`."""
    engine = f" ({printable(view.engine, 20)})" if view.engine else ""
    return f"{printable(view.backend, 20)}{engine}: {view.isolation}"


def running_time(view: BottleView, now: float) -> str:
    """How long the agent runs, or ran."""
    start = view.started_at or view.created_at
    return elapsed((view.ended_at or now) - start)


def sidecars(views: Iterable[BottleView]) -> Verdict:
    """All sidecars of live bottles in one word, worst first."""
    states = [view.sidecar.state for view in views if live(view)]
    for state, verdict in (
        ("failed", Verdict("✗", "down", "refused")),
        ("restarting", Verdict("▲", "restarting", "asks")),
        ("starting", Verdict("◌", "starting", "changed")),
    ):
        if state in states:
            return Verdict(verdict.glyph, f"{states.count(state)} {verdict.word}", verdict.tone)
    return Verdict("●", "healthy", "ok") if states else Verdict("○", "none", "quiet")


def sidecar(view: BottleView, now: float) -> Verdict:
    """One bottle's sidecar, with the attempt and the wait where it is being restarted."""
    health = view.sidecar
    if not live(view):
        return Verdict("○", "released", "quiet")
    if health.state == "healthy":
        return Verdict("●", "healthy", "ok")
    if health.state == "restarting":
        wait = max(0, round(health.at + (health.next_retry or 0) - now))
        return Verdict("▲", f"restarting, try {health.attempt}, in {wait} s", "asks")
    if health.state == "failed":
        return Verdict("✗", f"down after {health.attempt} tries", "refused")
    return Verdict("◌", "starting", "changed")
