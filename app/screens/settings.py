"""Every setting, its value, and the file it came from. Read only: settings.yml is where they are changed."""

from __future__ import annotations

from app.core.text import printable
from app.screens.page import Page
from app.widgets.ink import Hanging, Row, ink


class SettingsScreen(Page):
    heading = "Settings"
    note = "change them in settings.yml: carboy edit settings"

    async def rows(self) -> list[Row]:
        settings = await self.client.settings()
        width = max((len(item.path) for item in settings), default=10) + 2
        room = min(16, max((len(shown(item.value)) for item in settings), default=0))
        rows: list[Row] = []
        for item in settings:
            default = item.source == "default"
            name = ink((f"{printable(item.path, 80):<{width}}", "soft" if default else "bold ink"))
            value = ink((f"{printable(shown(item.value), 200):<{room}}  ", "soft" if default else "ok"))
            rows.append(Hanging(name, value + ink((f"({printable(item.source, 80)})", "faint"))))
        return rows


def shown(value: object) -> str:
    """A setting's value as a file would write it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(shown(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) or "none"
    return "not set" if value in (None, "") else str(value)
