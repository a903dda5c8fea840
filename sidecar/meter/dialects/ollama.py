"""Ollama's own API: one object, or one a line; the last says `done` and the counts."""

from sidecar.meter.counts import ollama
from sidecar.meter.dialects.tally import Tally
from sidecar.meter.loads import Tree, items, tree


class Ollama(Tally):
    name = "ollama"

    def see(self, event: Tree) -> None:
        if event.get("error"):
            self.error = event
            return
        message = tree(event.get("message"))
        for text in (event.get("thinking"), message.get("thinking")):
            self.text.add(text)
        for text in (event.get("response"), message.get("content")):
            self.speaks(text)
        for call in items(message.get("tool_calls")):
            function = tree(tree(call).get("function"))
            self.calls(function.get("name"))
            self.text.add(str(function))
        self.recognised = self.recognised or "model" in event
        self.say(event.get("model"), stop=event.get("done_reason"))
        counts = ollama(event)
        if event.get("done") is True or (counts.said and "done" not in event):
            self.ended = True
            self.said(counts)
