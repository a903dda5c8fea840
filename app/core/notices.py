"""What the operator should hear of, as a value, and which happenings make one. Pure. Its texts name a bottle, a host
or a decision; they never quote a request, an agent's words or a secret, since they leave this machine by webhook."""

from collections.abc import Mapping
from typing import Any, Literal

from app.core.model import LIVE, BottleView, Snapshot
from app.core.text import printable

Level = Literal["success", "error", "warning", "info", "agent_complete", "agent_error"]
About = Literal["approval", "canary", "budget", "question", "done", "failed", "stalled", "sidecar", "disk"]
ABOUT: tuple[About, ...] = ("approval", "canary", "budget", "question", "done", "failed", "stalled", "sidecar", "disk")

KEPT = 100
"""Notices that the centre remembers (hardening.md)."""
TEXT = 200


class Notice(Snapshot):
    """One of them. `id` is 0 until it is remembered; `proposal` names the card that it is about."""

    id: int = 0
    at: float
    about: About
    level: Level
    slug: str = ""
    title: str
    text: str = ""
    proposal: str = ""
    read: bool = False


def of_bottle(before: BottleView | None, now: BottleView, at: float) -> Notice | None:
    """What a change of a bottle is worth saying, if anything."""
    if before is None:
        return None
    name = printable(now.label or now.slug, 60)

    def say(about: About, level: Level, title: str, text: str = "") -> Notice:
        return Notice(at=at, about=about, level=level, slug=now.slug, title=title, text=printable(text, TEXT))

    if before.state in LIVE and now.state not in LIVE:
        learned = f"{now.refused} refused requests: carboy learn {now.slug}" if now.learn and now.refused else ""
        if now.state == "ended":
            return say("done", "agent_complete", f"{name} is done", learned)
        if now.state == "stopped":
            return say("done", "info", f"{name} was stopped", now.error or learned)
        code = "" if now.exit_code is None else f"exit code {now.exit_code}"
        became = "was lost" if now.state == "lost" else "has failed"
        return say("failed", "agent_error", f"{name} {became}", now.error or code)
    if now.asks_user and not before.asks_user:
        return say("question", "warning", f"{name} waits for you", "amid its turn: it asks something, or cannot go on")
    if now.stalled and not before.stalled:
        if now.doing not in ("waiting", "idle"):
            return say("stalled", "warning", f"{name} does nothing", "no output and no request for a while")
        if now.doing == "waiting" and not now.asks_user:  # of what it asks was told when it did
            return say(
                "stalled", "warning", f"{name} waits for you", "its turn is over, and nobody has said anything since"
            )
    if now.sidecar.state == "failed" and before.sidecar.state != "failed":
        return say("sidecar", "error", f"{name} has no sidecar", "it could not be restarted; nothing leaves the bottle")
    return None


def of_proposal(view: Mapping[str, Any], at: float) -> Notice | None:
    """A card that waits. `view` is a ProposalView's data: only the kind and the host are told."""
    if view.get("state") != "pending":
        return None
    what = {"egress-token-allow": "a finding is held", "gitleaks-allow": "a push is held", "git-push": "a push is held"}
    asked = what.get(str(view.get("kind")), "asks for access")
    host = printable(str(view.get("host") or ""), 100)
    slug = str(view.get("slug", ""))
    return Notice(
        at=at,
        about="approval",
        level="warning",
        slug=slug,
        title=f"{slug} waits for you",
        text=f"{asked}{f': {host}' if host else ''}",
        proposal=str(view.get("id", "")),
    )


def of_event(slug: str, kind: str, data: Mapping[str, Any], at: float) -> Notice | None:
    """A canary that was seen, or a threshold of a budget."""
    code = str(data.get("code", ""))
    if code.startswith("canary"):
        host = printable(str(data.get("host", "")), 100)
        text = f"its canary was on the way to {host}" if host else printable(str(data.get("text", "")), TEXT)
        return Notice(at=at, about="canary", level="error", slug=slug, title=f"{slug} leaks", text=text)
    if kind == "notice" and code.startswith("budget"):
        told = printable(str(data.get("text", "")), TEXT)
        level: Level = "error" if data.get("level") == "error" else "warning"
        return Notice(at=at, about="budget", level=level, slug=slug, title=f"Budget of {slug}", text=told)
    return None


def together(notices: list[Notice]) -> tuple[str, str]:
    """Several at once as one title and one text, bounded."""
    first = notices[0]
    if len(notices) == 1:
        return first.title, first.text
    lines = [f"{item.title}: {item.text}" if item.text else item.title for item in notices[:10]]
    more = [f"and {len(notices) - 10} more"] if len(notices) > 10 else []
    return f"carboy: {len(notices)} notices", "\n".join([*lines, *more])
