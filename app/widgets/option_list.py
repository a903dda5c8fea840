"""Textual's option list without its frame and colours, so that lists look alike everywhere. The row under the cursor
has a bar before it: in 16 colours its ground is the others'. Where the cursor moves, or a row says something else, that
row is drawn and not the whole list."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from rich.segment import Segment
from textual.geometry import Region
from textual.reactive import reactive
from textual.strip import Strip
from textual.widgets import OptionList

if TYPE_CHECKING:
    from textual.content import Content
    from textual.css.styles import RulesMap


class Options(OptionList):
    """A quiet list: no border, the row under the cursor on the theme's cursor colour. Rows begin with a blank cell."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"options--bar"}
    DEFAULT_CSS = """
    Options, Options:focus { border: none; background: $background; background-tint: $background 0%; padding: 0; }
    Options { scrollbar-size-vertical: 1; max-height: 100%; }
    Options > .option-list--option { padding: 0 1; }
    Options > .option-list--option-highlighted { background: $raised; color: $ink; text-style: none; }
    Options:focus > .option-list--option-highlighted { background: $cursor; color: $ink; text-style: none; }
    Options > .option-list--option-hover { background: $raised; }
    Options > .option-list--option-disabled { color: $faint; }
    Options > .option-list--separator { color: $line; }
    Options > .options--bar { color: $faint; }
    Options:focus > .options--bar { color: $accent; }
    """

    highlighted: reactive[int | None] = reactive(None, repaint=False)

    def watch_highlighted(self, before: int | None, highlighted: int | None) -> None:  # type: ignore[override]
        for at in (before, highlighted):
            self._refresh_row(at)
        super().watch_highlighted(highlighted)

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        at = self.scroll_offset.y + y
        if at >= len(self._lines) or self._lines[at][0] != self.highlighted or not strip.text.strip():
            return strip
        bar = self.get_component_rich_style("options--bar", partial=True)
        first = next(iter(strip.crop(0, 1)), Segment(" "))
        style = first.style + bar if first.style else bar
        return Strip.join([Strip([Segment("▌", style)], 1), strip.crop(1)])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """With nothing under the cursor, enter is the screen's."""
        if action == "select" and self.highlighted is None:
            return False
        return super().check_action(action, parameters)

    def action_page_up(self) -> None:
        if self._lines:  # a list that was never drawn, behind another tab, has none: Textual's own fails there
            super().action_page_up()

    def action_page_down(self) -> None:
        if self._lines:
            super().action_page_down()

    def _refresh_row(self, at: int | None) -> None:
        lines = self._line_cache
        if at is not None and at in lines.heights:
            top = lines.index_to_line[at] - self.scroll_offset.y
            self.refresh(Region(0, top, self.scrollable_content_region.width, lines.heights[at]))

    def redraw(self, at: int, content: Content) -> None:
        """Say something else in a row; nothing happens where it is the same."""
        option = self.get_option_at_index(at)
        before = option.prompt
        if content is before or content.is_same(before):  # type: ignore[arg-type]
            return
        padding = self.get_component_styles("option-list--option").padding.width
        width = self.scrollable_content_region.width - padding
        held = self._line_cache.heights.get(at)
        if held is None or width <= 0 or held != content.get_height(cast("RulesMap", self.styles), width):
            self.replace_option_prompt_at_index(at, content)
            return
        option._set_prompt(content)
        drawn = self._option_render_cache
        for key in [key for key in drawn.keys() if key[0] is option]:  # noqa: SIM118
            drawn.discard(key)
        self._refresh_row(at)

    def in_sight(self) -> range:
        """The rows that can be seen, at least in part."""
        rows, top = self._lines, self.scroll_offset.y
        seen = rows[top : top + self.scrollable_content_region.height]
        return range(seen[0][0], seen[-1][0] + 1) if seen else range(0)
