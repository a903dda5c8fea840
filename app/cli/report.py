"""`carboy report`: what a bottle did, or all of them since you left."""

import click

from app.cli.output import SLUG, ago, json_option, line, note, print_json, with_client
from app.core.report import Report, summary


@click.command()
@click.argument("slug", type=SLUG, required=False)
@click.option("--since", type=click.FloatRange(0, 50 * 365 * 24), metavar="HOURS", help="Only of the last HOURS.")
@json_option
def report(slug: str | None, since: float | None, as_json: bool) -> None:
    """Show what a bottle did: outcome, spend, refusals, decisions, files written. Without SLUG: all bottles, since the
    app was closed last."""
    import time

    start = None if since is None else time.time() - since * 3600
    if slug is not None:
        found = with_client(lambda client: client.report(slug, start))
        print_json(found) if as_json else _print(found)
        return
    away = with_client(lambda client: client.away(start))
    if as_json:
        print_json(away)
        return
    if not away.since:
        note("nobody has left yet: --since HOURS says from when on")
    for item in away.reports:
        _print(item)
        print()


def _print(found: Report) -> None:
    line(f"{found.label}{f' ({found.agent})' if found.agent else ''}")
    for name, text in summary(found):
        line(f"  {name:<9} {text}")
    for item in found.decisions:
        by = f" by {item.by}" if item.by else ""
        reason = f": {item.reason}" if item.reason else ""
        line(f"  asked     {ago(item.at)} ago, {item.what}: {item.state}{by}{reason}")
    for one in found.refusals:
        line(f"  {'failed' if one.failed else 'refused':<9} {one.times}x {one.host or '-'} {one.code}")
    for order in found.orders:
        line(f"  order     {ago(order.at)} ago, {order.action}{f' by {order.by}' if order.by else ''}")
    for name in found.changed.files:
        line(f"  file      {name}")
    if found.changed.more:
        line(f"  file      and {found.changed.more} more")
