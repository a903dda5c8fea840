"""Everything about one bottle: how it came to be, what holds it, and its allowlist as the sidecar has it now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.binding import Binding, BindingType

from app.core import bottles
from app.core.text import printable
from app.core.units import date_and_time, elapsed, time_of_day
from app.screens.page import Page, fact, heading
from app.widgets.ink import Row, ink

if TYPE_CHECKING:
    from collections.abc import Mapping

    from textual.content import Content

    from app.core.approvals import TemporaryRoute
    from app.core.model import BottleView


class BottleScreen(Page):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("s", "give", "Give secrets", show=False)]

    def __init__(self, view: BottleView) -> None:
        super().__init__()
        self.slug = view.slug
        self.heading = bottles.title(view)
        self._view = view

    def action_give(self) -> None:
        """Ask for what its sidecar lacks."""
        from app.screens.give import GiveSecrets

        if self._view.missing_secrets and bottles.live(self._view):
            self.app.push_screen(GiveSecrets(self._view), lambda given: self.action_reload() if given else None)
        else:
            self.carboy.notify("Its sidecar lacks no secret")

    async def rows(self) -> list[Row]:
        view = await self.client.bottle(self.slug)
        self._view = view
        rows = _posture(view, self.carboy.clock())
        rows += heading("Allowlist")
        if not bottles.live(view):
            return [*rows, ink(("It has ended: nothing is allowed any more.", "faint"))]
        routes = await self.client.routes(self.slug)
        rows += [line for route in routes for line in route_lines(route)]
        if not routes:
            return [*rows, ink(("Empty: this bottle reaches nothing.", "soft"))]
        temporary = (await self.client.live_routes(self.slug)).temporary
        if temporary:
            rows += heading("Of these only for a while")
            rows += [temporary_line(item, self.carboy.clock()) for item in temporary]
        return rows


def _posture(view: BottleView, now: float) -> list[Row]:
    mark, health = bottles.mark(view), bottles.sidecar(view, now)
    facts: list[tuple[str, Content | str]] = [
        ("state", ink((f"{mark.glyph} {mark.word}", mark.tone), (f"  {bottles.running_time(view, now)}", "soft"))),
        ("agent", printable(view.agent or " ".join(view.command), 200)),
        ("bottles", bottles.lineage(view)),
        ("provider", printable(view.provider + (f" · {view.model}" if view.model else ""), 100)),
        ("runs in", bottles.where(view)),
        ("sidecar", ink((f"{health.glyph} {health.word}", health.tone))),
        ("folder", f"{view.workspace} {printable(view.cwd, 400)}"),
        ("started", date_and_time(view.started_at or view.created_at)),
        ("name", printable(f"{view.slug} ({view.session_id})", 120)),
    ]
    rows: list[Row] = [fact(name, value) for name, value in facts if value]
    rows += [fact("", ink((f"✗ {printable(view.error, 400)}", "refused")))] if view.error else []
    rows += [fact("", ink((f"✗ {gone}", "refused")))] if (gone := bottles.lost(view)) else []
    if view.fault and view.state in ("running", "frozen", "failed"):
        rows.append(fact("model error", ink((f"▲ {printable(view.fault, 600)}", "asks"))))
    if missing := bottles.missing(view):
        rows.append(fact("", ink((f"▲ {missing} (", "asks"), ("s", "bold accent"), (")", "asks"))))
    return rows + [fact("", ink((f"▲ {printable(text, 400)}", "asks"))) for text in view.notes]


def temporary_line(item: TemporaryRoute, now: float) -> Content:
    """What ends by itself, and when."""
    end = f"{'until its first use, or ' if item.single else 'until '}{time_of_day(item.until)}"
    left = f", {elapsed(item.until - now)[-5:]} left"
    return ink(("◷ ", "asks"), (printable(item.title, 100), "bold ink"), (f"  {end}{left}", "soft"))


def route_lines(route: Mapping[str, Any]) -> list[Row]:
    """One route of an allowlist: host and ports, then what its requests must match."""
    ports = ", ".join(str(port) for port in route.get("ports") or ())
    head = ink(("✓ ", "ok"), (printable(str(route.get("host", "")), 100), "bold ink"), (f"  {ports}", "faint"))
    if route.get("source"):
        head = head + ink((f"  (from {printable(str(route['source']), 60)})", "faint"))
    if route.get("auth"):
        head = head + ink(("  with a credential that the bottle never sees", "changed"))
    rows: list[Row] = [head]
    for match in cast("list[Mapping[str, Any]]", route.get("matches") or ()):
        methods = " ".join(str(item) for item in match.get("methods") or ()) or "any method"
        paths = ", ".join(str(item.get("value", "")) for item in match.get("paths") or ()) or "any path"
        rows.append(fact("", ink((printable(methods, 80), "soft"), (" ", ""), (printable(paths, 300), "soft")), 3))
    return rows
