"""From what was seen of an answer to its `Usage`: which numbers are the provider's, which are estimates. Pure."""

from dataclasses import replace

from sidecar.meter.dialects.anthropic import usage_of
from sidecar.meter.dialects.tally import Tally
from sidecar.meter.learned import Calibration
from sidecar.meter.request import RequestFacts
from sidecar.meter.usage import Flag, Usage


def settle(tally: Tally, facts: RequestFacts, learned: Calibration, flags: frozenset[Flag], complete: bool) -> Usage:
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
        tool_calls=tally.tool_calls,
        complete=complete and (tally.ended or whole),
        flags=_flags(flags, tally),
    )
    if whole:
        _learn(tally, facts, learned, model, named)
        return named
    return _estimate(named, tally, facts, learned, complete)


def _estimate(named: Usage, tally: Tally, facts: RequestFacts, learned: Calibration, complete: bool) -> Usage:
    """The numbers that were not said, from the texts on both sides."""
    counts, model = tally.counts, named.model
    made = tally.counted_output + learned.tokens("output", model, tally.text.units())
    read = named.input
    if counts is None or counts.input is None:
        read = learned.tokens("input", model, facts.input_units)
    unread = complete and not tally.recognised
    return replace(
        named,
        input=read,
        output=max(named.output, made),
        estimated=True,
        unmetered=unread or (named.complete and facts.usage_asked),
    )


def _learn(tally: Tally, facts: RequestFacts, learned: Calibration, model: str, usage: Usage) -> None:
    if not tally.hidden and not tally.also:
        learned.learn("output", model, tally.all_units + tally.text.units(), usage.output)
    if not facts.continues:
        learned.learn("input", model, facts.input_units, usage.context)


def _flags(flags: frozenset[Flag], tally: Tally) -> tuple[Flag, ...]:
    repaired = tally.counts is not None and tally.counts.repaired
    more: frozenset[Flag] = frozenset({"repaired_total"}) if repaired else frozenset()
    return tuple(sorted(flags | more))
