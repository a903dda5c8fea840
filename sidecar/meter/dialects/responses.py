"""OpenAI's Responses: one `response` object, or events whose last carries it; the same events as WebSocket texts."""

from sidecar.meter.counts import openai
from sidecar.meter.dialects.tally import Tally
from sidecar.meter.loads import Tree, items, tree
from sidecar.meter.usage import text_of

LAST = frozenset(
    ("response.completed", "response.incomplete", "response.failed", "response.cancelled", "response.done")
)
"""Events that end a response; `response.done` is the Realtime API's."""

_SILENT = frozenset(("response.audio.delta", "response.output_audio.delta"))
"""Deltas in base64."""


class Responses(Tally):
    name = "responses"

    def see(self, event: Tree) -> None:
        kind = event.get("type")
        if not isinstance(kind, str):
            self._object(event)
        elif kind in LAST:
            self._object(tree(event.get("response")))
            self.ended = True
        elif kind.endswith(".delta"):
            self.recognised = True
            if kind not in _SILENT:
                (self.speaks if kind == "response.output_text.delta" else self.text.add)(event.get("delta"))
            self.hidden = self.hidden or kind.startswith("response.reasoning")
        elif kind.startswith("response."):
            self.recognised = True
            if kind == "response.output_item.done" and _is_call(event.get("item")):
                self._call(tree(event.get("item")))
            response = tree(event.get("response"))
            self.say(response.get("model"), response.get("id"))
        elif kind == "error":
            self.error = event

    def _object(self, response: Tree) -> None:
        if "id" not in response and "usage" not in response:
            if "error" in response:
                self.error = response
            return
        self.recognised = True
        status = response.get("status")
        reason = tree(response.get("incomplete_details")).get("reason")
        self.say(response.get("model"), response.get("id"), reason or status)
        self.service_tier = text_of(response.get("service_tier"), 32) or self.service_tier
        self.background = response.get("background") is True
        # a stream's last event repeats its items
        called = [tree(item) for item in items(response.get("output")) if _is_call(item)]
        for item in called[self.tool_calls :]:
            self._call(item)
        usage = openai(tree(response.get("usage")))
        if not usage.said and not self.text.characters:
            self._texts(response)
        if not self.speech:  # one object, no stream
            parts = [part for item in map(tree, items(response.get("output"))) for part in items(item.get("content"))]
            self.speech = sum(len(text) for part in parts if isinstance(text := tree(part).get("text"), str))
        self.said(usage)
        self.hidden = self.hidden or usage.reasoning > 0
        self.ended = status in ("completed", "incomplete", "failed", "cancelled") or usage.said
        if isinstance(response.get("error"), dict):
            self.error = response

    def _call(self, item: Tree) -> None:
        """A tool's name; the provider's own are told by their kind alone."""
        kind = item.get("type")
        self.calls(item.get("name") or kind)
        # what follows a search (a page that is opened) is no other one
        self.web_searches += kind == "web_search_call" and tree(item.get("action")).get("type", "search") == "search"
        self.file_searches += kind == "file_search_call"

    def _texts(self, response: Tree) -> None:
        """The texts of a response that says no usage."""
        for item in map(tree, items(response.get("output"))):
            for name in ("arguments", "input", "code", "name"):
                self.text.add(item.get(name))
            for part in items(item.get("content")) + items(item.get("summary")):
                self.speaks(tree(part).get("text"))


def _is_call(item: object) -> bool:
    return text_of(tree(item).get("type")).endswith("_call")
