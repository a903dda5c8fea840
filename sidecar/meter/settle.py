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
) -> Usage:
    """The usage of one answer. `complete`: it ended as HTTP (or the socket) says, whatever the provider said."""
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
        web_searches=max(base.web_searches, tally.web_searches),
        file_searches=tally.file_searches,
        tool_calls=tally.tool_calls,
        tools=tuple(tally.tools),
        speech=tally.speech,
        complete=complete and (tally.ended or whole),
        flags=_flags(flags, tally),
    )
    if whole:
        _learn(tally, facts, learned, model, named)
        return named
    estimated = _estimate(named, tally, facts, learned, complete)
    if closed:
        learned.learn_answer(tally.response_id, estimated.total)
    return estimated


def _estimate(named: Usage, tally: Tally, facts: RequestFacts, learned: Calibration, complete: bool) -> Usage:
    """The numbers that were not said, from the texts on both sides."""
    counts, model = tally.counts, named.model
    text = tally.text
    pieces = text.added if facts.stream else 0
    told = counts is not None and counts.input is not None and facts.previous is None
    hint = (facts.input_units, named.context) if told else (0.0, 0)
    made = tally.counted_output + learned.streamed(model, text.units(), pieces, hint)
    read, cached = named.input, named.cache_read
    if counts is None or counts.input is None:
        read = _read(facts, learned, model)
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
        if facts.previous is None:
            learned.learn("input", name, facts.input_units, usage.context)
        learned.learn_cached(name, usage.cache_read, usage.context)
    # one that only takes the conversation in (Responses' `generate: false`) may say that it cost nothing
    learned.learn_answer(tally.response_id, usage.total or _read(facts, learned, model))


def _read(facts: RequestFacts, learned: Calibration, model: str) -> int:
    """What the model read, by the request."""
    return learned.tokens("input", model, facts.input_units) + (learned.read_before(facts.previous) or 0)


def _flags(flags: frozenset[Flag], tally: Tally) -> tuple[Flag, ...]:
    repaired = tally.counts is not None and tally.counts.repaired
    more: frozenset[Flag] = frozenset({"repaired_total"}) if repaired else frozenset()
    return tuple(sorted(flags | more))
