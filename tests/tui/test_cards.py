"""How cards are drawn: whatever is said in them, in any window, and with the panel below still there."""

import pytest
from rich.cells import cell_len

from app.widgets.approvals_panel import ApprovalsPanel
from tests.tui.scripted import ScriptedClient, app, asked
from tests.tui.waiting import ready, text_of, until


@pytest.mark.parametrize("size", [(160, 48), (80, 24), (60, 15)], ids=lambda size: f"{size[0]}x{size[1]}")
async def test_a_cards_long_lines_go_on_below_their_own_beginning(size: tuple[int, int]) -> None:
    client = ScriptedClient()
    words = "wide 語 words " * 12
    client.proposals_now = [asked(title=words, justification=words, notes=(words,))]
    async with app(client).run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("3", "end", "4")
        await until(pilot, lambda: "Approvals 1" in text_of(pilot), "the card")
        panel = pilot.app.screen.query_one(ApprovalsPanel)
        await until(pilot, lambda: len(panel._lines) > 8, "its lines")
        told = panel.get_option_at_index(0).prompt.plain.splitlines()
        assert all(line.startswith("  ") for line in told[1:])
        at = next(number for number, line in enumerate(told) if line.startswith("  ✂"))
        assert told[at + 1].startswith("    ")
        assert max(map(cell_len, told)) <= panel.scrollable_content_region.width - 2
        assert len(panel._lines) == len(told), "none is wrapped once more"
        await pilot.press("tab")
        await until(pilot, lambda: "Refused 3" in text_of(pilot) and "pypi.org" in text_of(pilot), "the panel below")
        assert "upstream answered nothing" in text_of(pilot)
