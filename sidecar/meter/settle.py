"""From what was seen of an answer to its `Usage`: which numbers are the provider's, which are estimates. Pure."""

from dataclasses import replace

from sidecar.meter.dialects.anthropic import usage_of
from sidecar.meter.dialects.tally import Tally
from sidecar.meter.learned import Calibration
from sidecar.meter.request import RequestFacts
from sidecar.meter.usage import Flag, Usage


def settle(
    tally: Tally,
    facts: RequestFacts,
    learned: Calibration,
    flags: frozenset[Flag],
    complete: bool,
    already_read: int = 0,
) -> Usage:
    """The usage of one answer. `complete`: it ended as HTTP (or the socket) says, whatever the provider said.
    `already_read`: tokens of the conversation that the request goes on with, beside its own body."""
    model = tally.model or facts.model
    counts = tally.counts
    closed = tally.ended or (complete and tally.error is None)
    whole = tally.covered and closed and not tally.text.characters
    base = usage_of(counts, tally.name) if counts else Usage(tally.name)
    named = replace(
        base,
        model=model,
        stop_reason=tally.stop_reason,
        response_id=tally.response_id,
        service_tier=tally.service_tier,
        also=tally.also,
        tool_calls=tally.tool_calls,
        tools=tuple(tally.tools),
        speech=tally.speech,
        complete=complete and (tally.ended or whole),
        flags=_flags(flags, tally),
    )
    if whole:
        _learn(tally, facts, learned, model, named)
        return named
    return _estimate(named, tally, facts, learned, complete, already_read)


def _estimate(
    named: Usage, tally: Tally, facts: RequestFacts, learned: Calibration, complete: bool, already_read: int
) -> Usage:
    """The numbers that were not said, from the texts on both sides."""
    counts, model = tally.counts, named.model
    text = tally.text
    pieces = text.added if facts.stream else 0
    told = counts is not None and counts.input is not None and not facts.continues and not already_read
    hint = (facts.input_units, named.context) if told else (0.0, 0)
    made = tally.counted_output + learned.streamed(model, text.units(), pieces, hint)
    read, cached = named.input, named.cache_read
    if counts is None or counts.input is None:
        read = learned.tokens("input", model, facts.input_units) + already_read
        if not named.context:
            cached = round(read * learned.cached(model))
            read -= cached
    unread = complete and not tally.recognised
    return replace(
        named,
        input=read,
        cache_read=cached,
        output=max(named.output, made),
        estimated=True,
        unmetered=unread or (named.complete and facts.usage_asked),
    )


def _learn(tally: Tally, facts: RequestFacts, learned: Calibration, model: str, usage: Usage) -> None:
    # a request names an alias (what is set aside for it goes by that), its answer the dated model
    for name in {model, facts.model} - {""}:
        if not tally.hidden and not tally.also:
            learned.learn("output", name, tally.all_units + tally.text.units(), usage.output)
            if facts.stream:
                learned.learn("pieces", name, tally.all_pieces + tally.text.added, usage.output)
        if not facts.continues:
            learned.learn("input", name, facts.input_units, usage.context)
        learned.learn_cached(name, usage.cache_read, usage.context)


def _flags(flags: frozenset[Flag], tally: Tally) -> tuple[Flag, ...]:
    repaired = tally.counts is not None and tally.counts.repaired
    more: frozenset[Flag] = frozenset({"repaired_total"}) if repaired else frozenset()
    return tuple(sorted(flags | more))
