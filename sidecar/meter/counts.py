"""The providers' usage objects, brought to one meaning (`usage.Usage`). Pure tables of field names; no event logic."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from sidecar.meter.loads import Tree, items, tree
from sidecar.meter.usage import count

MOST_DOLLARS = 10_000
"""For one answer; more is garbage."""


@dataclass(slots=True)
class Counts:
    """Numbers of one usage object. `None` for what it does not say."""

    input: int | None = None
    output: int | None = None
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    reasoning: int = 0
    web_searches: int = 0
    cost: Decimal | None = None
    repaired: bool = False

    @property
    def said(self) -> bool:
        return self.input is not None or self.output is not None


def first(source: Tree, *names: str) -> int | None:
    """The first of these members that is a number of tokens."""
    for name in names:
        found = count(source.get(name))
        if found is not None:
            return found
    return None


def anthropic(usage: Tree) -> Counts:
    """Input excludes what was read from or written to a cache; a lifetime of five minutes is the default.

    Compaction's own sampling is paid but left out of the top level (docs: "sum across all entries in
    usage.iterations"); the top level is the sum of the others.
    """
    lifetimes = tree(usage.get("cache_creation"))
    write_5m = first(lifetimes, "ephemeral_5m_input_tokens") or 0
    write_1h = first(lifetimes, "ephemeral_1h_input_tokens") or 0
    counts = Counts(
        input=first(usage, "input_tokens"),
        output=first(usage, "output_tokens"),
        cache_read=first(usage, "cache_read_input_tokens") or 0,
        cache_write=max(first(usage, "cache_creation_input_tokens") or 0, write_5m + write_1h),
        cache_write_1h=write_1h,
        reasoning=first(tree(usage.get("output_tokens_details")), "thinking_tokens", "reasoning_tokens") or 0,
        web_searches=first(tree(usage.get("server_tool_use")), "web_search_requests") or 0,
    )
    for entry in iterations(usage, "compaction"):
        add(counts, anthropic(entry))
    return counts


def iterations(usage: Tree, kind: str) -> list[Tree]:
    """Entries of this kind. They hold no iterations themselves: what hostile bytes put there is not followed."""
    found = [tree(entry) for entry in items(usage.get("iterations"))[:100]]
    return [{**entry, "iterations": None} for entry in found if entry.get("type") == kind]


def add(counts: Counts, more: Counts) -> None:
    counts.input = (counts.input or 0) + (more.input or 0)
    counts.output = (counts.output or 0) + (more.output or 0)
    counts.cache_read += more.cache_read
    counts.cache_write += more.cache_write
    counts.cache_write_1h += more.cache_write_1h
    counts.reasoning += more.reasoning


def bring_forward(counts: Counts, earlier: Counts) -> None:
    """Cumulative reports of one answer: the newest number holds, but a zero or nothing takes back none.

    Compatible servers say zeros first and numbers last, or the other way round; Anthropic's last report leaves out
    the lifetimes that the first one gave.
    """
    counts.input = counts.input or earlier.input
    counts.output = counts.output or earlier.output
    counts.cache_read = counts.cache_read or earlier.cache_read
    counts.cache_write = counts.cache_write or earlier.cache_write
    counts.cache_write_1h = min(counts.cache_write_1h or earlier.cache_write_1h, counts.cache_write)
    counts.reasoning = counts.reasoning or earlier.reasoning
    counts.web_searches = counts.web_searches or earlier.web_searches


def openai(usage: Tree) -> Counts:
    """Responses, Chat Completions and what is compatible: input includes cached tokens, output includes reasoning.

    Where the total says more than the parts (xAI counts reasoning beside the output, Gemini's compatible endpoint
    counts thoughts only there), the difference was paid as output.
    """
    read_from = tree(
        usage.get("input_tokens_details") or usage.get("prompt_tokens_details") or usage.get("input_token_details")
    )
    made = tree(usage.get("output_tokens_details") or usage.get("completion_tokens_details"))
    whole = first(usage, "input_tokens", "prompt_tokens")
    output = first(usage, "output_tokens", "completion_tokens")
    total = first(usage, "total_tokens")
    cached = first(read_from, "cached_tokens") or first(usage, "prompt_cache_hit_tokens") or 0
    written = first(read_from, "cache_write_tokens", "cache_creation_tokens") or 0
    reasoning = first(made, "reasoning_tokens") or 0
    counts = Counts(whole, output, reasoning=reasoning, cost=_charged(usage))
    if whole is not None:
        counts.cache_read = min(cached, whole)
        counts.cache_write = min(written, whole - counts.cache_read)
        counts.input = whole - counts.cache_read - counts.cache_write
    if total is not None and whole is not None and total > whole + (output or 0):
        counts.repaired = output is not None
        counts.reasoning = max(reasoning, total - whole - (output or 0)) if output is not None else reasoning
        counts.output = total - whole
    return counts


def gemini(usage: Tree) -> Counts:
    """Prompt includes cached content; tool results and thoughts are counted apart and paid as input and output."""
    prompt = first(usage, "promptTokenCount")
    tools = first(usage, "toolUsePromptTokenCount") or 0
    thoughts = first(usage, "thoughtsTokenCount") or 0
    made = first(usage, "candidatesTokenCount", "responseTokenCount")
    cached = min(first(usage, "cachedContentTokenCount") or 0, prompt or 0)
    counts = Counts(cache_read=cached, reasoning=thoughts)
    if prompt is not None:
        counts.input = prompt - cached + tools
    if made is not None or thoughts:
        counts.output = (made or 0) + thoughts
    return counts


def interactions(usage: Tree) -> Counts:
    """As Gemini's, by other names."""
    read, made = first(usage, "total_input_tokens"), first(usage, "total_output_tokens")
    thoughts = first(usage, "total_thought_tokens") or 0
    cached = min(first(usage, "total_cached_tokens") or 0, read or 0)
    counts = Counts(cache_read=cached, reasoning=thoughts)
    if read is not None:
        counts.input = read - cached + (first(usage, "total_tool_use_tokens") or 0)
    if made is not None or thoughts:
        counts.output = (made or 0) + thoughts
    return counts


def ollama(event: Tree) -> Counts:
    """The counts are members of the last object itself; a prompt that was cached is not counted at all."""
    return Counts(first(event, "prompt_eval_count"), first(event, "eval_count"))


def _charged(usage: Tree) -> Decimal | None:
    """With a key of the user's own behind OpenRouter (`is_byok`), its cost is a fee: the vendor's own comes beside."""
    cost = _money(usage.get("cost"))
    if cost is None or usage.get("is_byok") is not True:
        return cost
    own = _money(tree(usage.get("cost_details")).get("upstream_inference_cost"))
    return cost + own if own is not None else None


def _money(value: object) -> Decimal | None:
    """US dollars, as OpenRouter says them."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value)[:40])
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount < MOST_DOLLARS else None
