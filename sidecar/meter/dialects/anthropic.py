"""Anthropic's Messages: one `message` object, or `message_start`, deltas, and a cumulative `message_delta`."""

from dataclasses import replace

from sidecar.meter.counts import Counts, anthropic, bring_forward, iterations
from sidecar.meter.dialects.tally import Tally
from sidecar.meter.loads import Tree, items, tree
from sidecar.meter.usage import Usage, text_of


class Anthropic(Tally):
    name = "anthropic"

    def see(self, event: Tree) -> None:
        kind = event.get("type")
        if kind == "content_block_delta":
            self._delta(tree(event.get("delta")))
        elif kind == "content_block_start":
            self._block(tree(event.get("content_block")))
        elif kind == "message_start":
            self._start(tree(event.get("message")))
        elif kind == "message_delta":
            self.recognised = True
            self.say(stop=tree(event.get("delta")).get("stop_reason"))
            self._usage(tree(event.get("usage")), last=True)
        elif kind == "message_stop":
            self.ended = True
        elif kind == "message":
            self._whole(event)
        elif kind == "error" or "error" in event:
            self.error = event

    def _start(self, message: Tree) -> None:
        self.recognised = True
        self.say(message.get("model"), message.get("id"), message.get("stop_reason"))
        self._usage(tree(message.get("usage")), last=False)

    def _whole(self, message: Tree) -> None:
        self.recognised = True
        self.say(message.get("model"), message.get("id"), message.get("stop_reason"))
        for block in items(message.get("content")):
            self._block(tree(block))
        self._usage(tree(message.get("usage")), last=True)
        self.ended = True

    def _delta(self, delta: Tree) -> None:
        if delta.get("type") == "thinking_delta":
            self.hidden = True  # what is shown of it is a summary
        self.speaks(delta.get("text"))
        for name in ("partial_json", "thinking", "content"):
            self.text.add(delta.get(name))

    def _block(self, block: Tree) -> None:
        kind = block.get("type")
        if kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
            self.calls(block.get("name"))
        if kind in ("thinking", "redacted_thinking"):
            self.hidden = True
        if kind == "compaction":
            return  # its tokens come with the usage's iterations only
        self.speaks(block.get("text"))
        for name in ("thinking", "name"):
            self.text.add(block.get(name))
        arguments = tree(block.get("input"))
        if arguments:
            self.text.add(str(arguments))

    def _usage(self, usage: Tree, last: bool) -> None:
        counts = anthropic(usage)
        if not counts.said:
            return
        self.service_tier = text_of(usage.get("service_tier"), 32) or self.service_tier
        self.also = tuple(_advice(entry) for entry in iterations(usage, "advisor_message")) or self.also
        if self.counts is not None:
            bring_forward(counts, self.counts)
        if last:
            self.said(counts)
            self.ended = self.ended or bool(self.stop_reason)
        else:
            self.counts = counts  # its few output tokens are the beginning of the text that follows


def _advice(entry: Tree) -> Usage:
    """Another model's part of the answer, at that model's price."""
    counts: Counts = anthropic(entry)
    return replace(usage_of(counts, "anthropic"), model=text_of(entry.get("model")))


def usage_of(counts: Counts, dialect: str) -> Usage:
    """`counts` as they were said."""
    return Usage(
        dialect=dialect,
        input=counts.input or 0,
        output=counts.output or 0,
        cache_read=counts.cache_read,
        cache_write_5m=counts.cache_write - counts.cache_write_1h,
        cache_write_1h=counts.cache_write_1h,
        reasoning=counts.reasoning,
        web_searches=counts.web_searches,
        cost_usd=counts.cost,
    )
