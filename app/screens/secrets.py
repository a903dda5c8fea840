"""The secrets in the system keyring: names and times. One is set behind a masked field, and removed once that was asked
about. No value is ever read back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from app.core.text import printable
from app.core.units import ago
from app.screens.list_page import ListPage
from app.screens.room import Box, explain
from app.widgets.ink import ink
from app.widgets.key_bar import Key
from app.widgets.masked import Masked

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.content import Content

    from app.core.vault import SecretView, VaultView

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,127}")


class SecretsScreen(ListPage["SecretView"]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n,a", "set", "Set a secret", show=False),
        Binding("d,delete", "remove", "Remove it", show=False),
    ]
    heading = "Secrets"
    note = "in the system keyring · names and times only"
    empty = "No secrets yet: n sets one"
    keys: ClassVar[tuple[Key, ...]] = (
        Key("esc", "close", "screen.close"),
        Key("n", "set one", "screen.set"),
        Key("↵", "set it anew"),
        Key("d", "remove", "screen.remove"),
    )

    async def fetch(self) -> Sequence[SecretView]:
        found = await self.client.vault()
        self.say(
            f"▲ {found.hint}" if found.hint else f"kept by {printable(found.keyring, 80)}",
            "asks" if found.hint else "faint",
        )
        return found.secrets

    def row(self, item: SecretView) -> Content:
        now = self.carboy.clock()
        used = f"used {ago(now - item.used_at)}" if item.used_at else "never used"
        return ink(
            (f"{printable(item.name, 60):<36} ", "ink"),
            (f"set {ago(now - item.set_at)}", "soft"),
            (f" · {used}", "faint"),
        )

    def on_option_list_option_selected(self) -> None:
        if self.chosen is not None:
            self._ask(self.chosen.name)

    def action_set(self) -> None:
        self._ask("")

    def _ask(self, name: str) -> None:
        self.carboy.push_screen(SetSecret(name), lambda done: self.reload() if done else None)

    def action_remove(self) -> None:
        from app.screens.confirm import Confirm

        item = self.chosen
        if item is None:
            return
        question = Confirm(
            f"Remove {printable(item.name, 60)}?",
            "Remove it",
            losses=("its value: nobody can read it back",),
            kept=("what running bottles hold of it",),
        )
        remove = lambda yes: self.work("remove it", self._remove(item.name)) if yes else None  # noqa: E731
        self.carboy.push_screen(question, remove)

    async def _remove(self, name: str) -> None:
        found: VaultView = await self.client.remove_secret(name)
        self.show(found.secrets)
        self.carboy.notify(f"{name} is removed")


class SetSecret(Box[bool]):
    """A name, and its value behind dots. True once the keyring has it."""

    DEFAULT_CSS = """
    SetSecret { align: center middle; background: $background 60%; }
    SetSecret > Vertical {
        width: 72; max-width: 94%; height: auto; border: round $accent; background: $panel; padding: 1 2;
        border-title-color: $accent; border-subtitle-color: $faint;
    }
    SetSecret Static { height: auto; margin-bottom: 1; }
    SetSecret #secret-name { border: none; height: 1; padding: 0 1; background: $raised; margin-bottom: 1; }
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.named = name
        self._sending = False

    def compose(self) -> ComposeResult:
        with Vertical() as box:
            box.border_title = ink(("Set a secret", "bold"))
            box.border_subtitle = ink(("↵ next, and keep · esc leave it", "faint"))
            yield Static(ink(("The value goes into the system keyring; it is never shown again.", "soft")), id="word")
            yield Input(
                self.named,
                placeholder="NAME, such as ANTHROPIC_API_KEY",
                max_length=128,
                compact=True,
                id="secret-name",
            )
            yield Masked("value", "its value")

    def on_mount(self) -> None:
        (self.query_one(Masked) if self.named else self.query_one("#secret-name", Input)).focus()

    def on_input_submitted(self) -> None:
        name, value = self.query_one("#secret-name", Input).value.strip(), self.query_one(Masked).value
        if not NAME.fullmatch(name):
            self._say("A name has letters, digits, _ . - and begins with a letter")
            self.query_one("#secret-name").focus()
        elif not value:
            self.query_one(Masked).focus()
        elif not self._sending:
            self._sending = True
            self._say("The keyring may ask you to unlock it…", "soft")
            self.work("keep it", self._send(name, value), group="secret", alone=True)

    async def _send(self, name: str, value: str) -> None:
        from app.core.vault import go_on
        from sidecar.secret import Secret

        try:
            found: VaultView = await self.client.set_secret(name, Secret(value))
        finally:
            self._sending = False
        self.carboy.notify(f"{name} is in the keyring")
        if more := go_on(found.keep, name):
            self.carboy.notify(more, severity="warning")
        self.dismiss(True)

    def _say(self, text: str, tone: str = "refused") -> None:
        self.query_one("#word", Static).update(ink((text, tone)))

    def failed(self, what: str, error: Exception) -> None:
        self._say(f"✗ Could not {what}: {printable(explain(error), 600)}")
