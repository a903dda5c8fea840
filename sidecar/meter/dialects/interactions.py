"""Gemini's interactions: usage in the object, or in the event that completes a stream."""

from sidecar.meter.counts import interactions
from sidecar.meter.dialects.tally import Tally
from sidecar.meter.loads import Tree, tree
from sidecar.meter.usage import text_of

_ENDED = ("completed", "requires_action", "incomplete", "budget_exceeded")


class Interactions(Tally):
    name = "interactions"

    def see(self, event: Tree) -> None:
        if event.get("error"):
            self.error = event
        kind = text_of(event.get("event_type"), 64)
        whole = tree(event.get("interaction")) if kind.startswith("interaction.") else event
        self.recognised = self.recognised or bool(kind) or whole.get("object") == "interaction"
        self.say(whole.get("model"), whole.get("id"), whole.get("status"))
        self._delta(tree(event.get("delta")))
        counts = interactions(tree(whole.get("usage")))
        if counts.said:
            self.hidden = self.hidden or counts.reasoning > 0
            self.said(counts)
        self.ended = self.ended or whole.get("status") in _ENDED

    def _delta(self, delta: Tree) -> None:
        self.speaks(delta.get("text"))
        self.text.add(tree(delta.get("content")).get("text"))  # of a thought
        self.text.add(delta.get("arguments"))
