"""OpenAI's Chat Completions and everything that speaks it: usage in the object, or in the last chunk of a stream."""

from sidecar.meter.counts import openai
from sidecar.meter.dialects.tally import Tally
from sidecar.meter.loads import Tree, items, tree
from sidecar.meter.usage import text_of


class Chat(Tally):
    name = "chat"

    def see(self, event: Tree) -> None:
        if "error" in event and event.get("error"):
            self.error = event
        choices = [tree(choice) for choice in items(event.get("choices"))]
        for choice in choices:
            self._choice(choice)
        usage = self._usage(event, choices)
        if choices or usage or event.get("object") is not None:
            self.recognised = self.recognised or bool(choices or usage)
            self.say(event.get("model"), event.get("id"))
            self.service_tier = text_of(event.get("service_tier"), 32) or self.service_tier
        counts = openai(usage)
        self.said(counts)
        self.hidden = self.hidden or counts.reasoning > 0
        if counts.said and not str(event.get("object", "")).endswith(".chunk"):
            self.ended = True

    def _usage(self, event: Tree, choices: list[Tree]) -> Tree:
        """Where the chunk's usage is: at the top, under `x_groq` (Groq), or in the choice (Moonshot)."""
        inside = next((tree(choice.get("usage")) for choice in choices if choice.get("usage")), tree(None))
        return tree(event.get("usage")) or tree(tree(event.get("x_groq")).get("usage")) or inside

    def _choice(self, choice: Tree) -> None:
        self.say(stop=choice.get("finish_reason"))
        self.ended = self.ended or bool(choice.get("finish_reason"))
        self.speaks(choice.get("text"))
        message = tree(choice.get("delta")) or tree(choice.get("message"))
        self._content(message.get("content"))
        thoughts = [message.get(name) for name in ("reasoning_content", "reasoning")]
        for text in (*thoughts, message.get("refusal"), tree(message.get("audio")).get("transcript")):
            self.text.add(text)
        if not any(thoughts):  # else it says the same again (OpenRouter)
            for detail in map(tree, items(message.get("reasoning_details"))):
                self.text.add(detail.get("text") or detail.get("summary"))
        for call in map(tree, items(message.get("tool_calls"))):
            self._call(tree(call.get("function")) or tree(call.get("custom")))
        self._call(tree(message.get("function_call")))  # before there were several

    def _content(self, content: object) -> None:
        """A text, or parts of it; Mistral's thoughts are a part with parts."""
        self.speaks(content)
        for part in map(tree, items(content)):
            self.speaks(part.get("text"))
            for thought in map(tree, items(part.get("thinking"))):
                self.text.add(thought.get("text"))

    def _call(self, function: Tree) -> None:
        if text_of(function.get("name")):  # later pieces of it have none
            self.calls(function.get("name"))
        for name in ("name", "arguments", "input"):
            self.text.add(function.get(name))
