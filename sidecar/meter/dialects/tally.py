"""What has been seen of one answer so far. Owns no parsing: each dialect fills it from its own events."""

from typing import ClassVar

from sidecar.meter.counts import Counts
from sidecar.meter.estimate import Text
from sidecar.meter.loads import Tree
from sidecar.meter.spoken import MOST_TOOLS, tool_name
from sidecar.meter.usage import Usage, text_of


class Tally:
    """Base of the dialects. `see` is called with every event's object, in order, and never raises."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self.model = ""
        self.stop_reason = ""
        self.response_id = ""
        self.service_tier = ""
        self.counts: Counts | None = None
        """The newest numbers that were said; None while there were none."""
        self.covered = False
        """`counts` are of the answer so far, not of its beginning alone."""
        self.counted_output = 0
        """How much of the output `counts` covers; `text` is what came after it."""
        self.text = Text()
        self.all_units = 0.0
        """Units of all text, also of what is counted: to learn from."""
        self.all_pieces = 0
        self.ended = False
        """The provider ended its answer: numbers, if any, are its last."""
        self.hidden = False
        """The model made tokens that the answer does not show (thinking): its text teaches nothing."""
        self.cut = False
        """The event being seen was cut off: its usage may lack half its members."""
        self.recognised = False
        self.background = False
        self.tool_calls = 0
        """Tools that the model asked for, its provider's own included."""
        self.tools: list[str] = []
        """Their names, as far as they were told."""
        self.web_searches = 0
        """Those of them that search the web for a price, where each is told."""
        self.file_searches = 0
        """The same in documents that the provider stores."""
        self.speech = 0
        """Characters of its text that are for the user: no thinking, no tool's arguments."""
        self.error: Tree | None = None
        self.also: tuple[Usage, ...] = ()

    def see(self, event: Tree) -> None:
        raise NotImplementedError

    def done(self) -> None:
        """The stream's own end mark (`[DONE]`)."""
        self.ended = True

    def say(self, model: object = None, response_id: object = None, stop: object = None) -> None:
        """Remember names, the newest of each."""
        self.model = text_of(model) or self.model
        self.response_id = text_of(response_id) or self.response_id
        self.stop_reason = text_of(stop, 64) or self.stop_reason

    def speaks(self, text: object) -> None:
        """Text for the user."""
        self.text.add(text)
        self.speech += len(text) if isinstance(text, str) else 0

    def calls(self, name: object) -> None:
        """The model asks for a tool."""
        self.tool_calls += 1
        if len(self.tools) < MOST_TOOLS and tool_name(name):
            self.tools.append(tool_name(name))

    def said(self, counts: Counts) -> None:
        """Numbers that cover all text until now."""
        if not counts.said or (self.cut and self.counts is not None):
            return
        self.counts = counts
        # a blocked prompt or an embedding says input alone
        self.covered = not self.cut and (counts.output is not None or not self.text.characters)
        if counts.output is not None:
            self.counted_output = counts.output
            self.all_units += self.text.units()
            self.all_pieces += self.text.added
            self.text.clear()
