"""`carboy traces`: what bottles did, call by call, from the hourly trace files."""

import re
import time
from typing import get_args

import click

from app.cli.output import SLUG, json_option, line, print_json, with_client
from app.core.trace import Kind, Trace
from app.core.units import count

_BACK = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_SECONDS = {"m": 60.0, "h": 3600.0, "d": 86400.0}


def _since(ctx: click.Context, param: click.Parameter, value: str | None) -> float:
    if value is None:
        return 0.0
    found = _BACK.fullmatch(value)
    if found is None:
        raise click.BadParameter("write 30m, 2h or 7d")
    return time.time() - int(found[1]) * _SECONDS[found[2]]


@click.command()
@click.argument("slug", type=SLUG, required=False)
@click.option("--kind", type=click.Choice(get_args(Kind)), help="Only these.")
@click.option("--since", callback=_since, metavar="AGO", help="Not older than 30m, 2h, 7d.")
@click.option("--session", help="Only of this session, by its id.")
@click.option("--limit", "-n", type=click.IntRange(1, 5000), default=200, show_default=True, help="Newest so many.")
@json_option
def traces(slug: str | None, kind: str | None, since: float, session: str | None, limit: int, as_json: bool) -> None:
    """Show what a bottle (or all of them) did: model calls with what they were brought, tools asked for, states.

    Numbers and names, no text of the conversation. They are kept for 30 days, also of bottles that are gone.
    """
    found = with_client(
        lambda client: client.traces(slug, kind=kind, since=since or None, session_id=session, limit=limit)
    )
    if as_json:
        print_json(found)
        return
    for one in found:
        line(trace_line(one))
    if not found:
        line("no traces")


def trace_line(one: Trace) -> str:
    """One as people read it."""
    clock = time.strftime("%m-%d %H:%M:%S", time.localtime(one.created_at))
    told = [f"{name}={value}" for name, value in one.payload.items() if value not in (None, "", 0, False, True)]
    if one.kind in ("llm_call", "error"):
        cost = "" if one.cost_usd is None else f" ${one.cost_usd:.4f}"
        told = [f"{count(one.tokens_in or 0)} read, {count(one.tokens_out or 0)} written{cost}"]
        told.append(f"in {one.duration_ms or 0:.0f} ms")
        told += [word for word in ("estimated", "unmetered") if one.payload.get(word)]
    what = " ".join([*told, one.error]).strip()
    return f"{clock} {one.bottle:12} {one.kind:11} {one.model} {what}".rstrip()
