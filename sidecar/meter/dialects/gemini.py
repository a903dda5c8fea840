"""Gemini's generateContent: every piece of a stream carries cumulative `usageMetadata`, the last one counts."""

from sidecar.meter.counts import gemini
from sidecar.meter.dialects.tally import Tally
from sidecar.meter.loads import Tree, items, tree
from sidecar.meter.usage import text_of

_MOST_QUERIES = 1000
_BY_PROMPT = ("gemini-1", "gemini-2")
"""These are charged once for an answer that was grounded, later ones for each different search."""


class Gemini(Tally):
    name = "gemini"

    def __init__(self) -> None:
        super().__init__()
        self._queries: set[str] = set()

    def see(self, event: Tree) -> None:
        if event.get("error"):
            self.error = event
            return
        piece = tree(event.get("response")) or event  # Code Assist wraps each piece
        for candidate in map(tree, items(piece.get("candidates"))):
            self._candidate(candidate)
        blocked = tree(piece.get("promptFeedback")).get("blockReason")
        if blocked:
            self.recognised = self.ended = True
            self.say(stop=blocked)
        self.say(piece.get("modelVersion"), piece.get("responseId"))
        self.web_searches = min(len(self._queries), 1) if self.model.startswith(_BY_PROMPT) else len(self._queries)
        counts = gemini(tree(piece.get("usageMetadata")))
        if counts.said:
            self.recognised = True
            self.hidden = self.hidden or counts.reasoning > 0
            self.said(counts)

    def _candidate(self, candidate: Tree) -> None:
        self.recognised = True
        if candidate.get("finishReason"):
            self.say(stop=candidate.get("finishReason"))
            self.ended = True
        for query in items(tree(candidate.get("groundingMetadata")).get("webSearchQueries"))[:_MOST_QUERIES]:
            if text_of(query) and len(self._queries) < _MOST_QUERIES:
                self._queries.add(text_of(query))
        for part in map(tree, items(tree(candidate.get("content")).get("parts"))):
            (self.text.add if part.get("thought") is True else self.speaks)(part.get("text"))
            call = tree(part.get("functionCall"))
            if call:
                self.calls(call.get("name"))
                self.text.add(call.get("name"))
                self.text.add(str(call.get("args")))
