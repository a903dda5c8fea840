"""`carboy logs`: the egress log as lines, of one bottle, live if asked."""

import time
from typing import TYPE_CHECKING

import click

from app.cli.output import SLUG, json_option, line, note, print_json, print_json_line, with_client
from app.core.model import SEARCHED, StreamEvent

if TYPE_CHECKING:
    from app.client import Client

_DECISIONS = ("allow", "deny", "hold", "redact", "error", "blocked")
_BLOCKED = frozenset({"deny", "hold", "error"})


@click.command()
@click.argument("slug", type=SLUG, required=False)
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens from now on.")
@click.option("--decision", type=click.Choice(_DECISIONS), help="Only these (blocked: deny, hold and error).")
@click.option("--host", help="Only hosts that contain this.")
@click.option("--text", help="Only events that contain this.")
@click.option("--before", type=click.IntRange(1), metavar="SEQ", help="Only older ones than this event.")
@click.option("--limit", "-n", type=click.IntRange(0, 5000), default=200, show_default=True, help="Newest so many.")
@json_option
def logs(
    slug: str | None,
    follow: bool,
    decision: str | None,
    host: str | None,
    text: str | None,
    before: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show what a bottle (or all of them) asked for and what became of it.

    With --json and --follow: one object a line.
    """

    async def work(client: "Client") -> None:
        if slug:
            await client.bottle(slug)  # a clear error for a name that never was
        found = []
        if limit:
            found = await client.log(slug=slug, decision=decision, host=host, text=text, before=before, limit=limit)
        if (host or text) and len(found) < limit:
            await _say_how_far(client, before)
        since = found[-1].seq if found else 0  # 0 also of the line that tells of dropped ones
        since = since or (await client.status()).last_seq
        if as_json and not follow:
            print_json(found)
            return
        if limit and not found and not as_json:
            note("nothing here matches" if decision or host or text or before else "nothing was asked for yet")
        for event in found:
            _print(event, as_json)
        if not follow:
            return
        async for event in client.events(since, slug):
            if event.seq and _wanted(event, decision, host, text):
                _print(event, as_json)

    with_client(work)


async def _say_how_far(client: "Client", before: int | None) -> None:
    """A host or a text is looked for in the newest events alone."""
    last = before or (await client.status()).last_seq
    if last > SEARCHED:
        note(f"looked through {SEARCHED:,} events; older ones: --before {last - SEARCHED} (or an earlier event's seq)")


def _wanted(event: StreamEvent, decision: str | None, host: str | None, text: str | None) -> bool:
    found = event.data.get("decision", "")
    if decision == "blocked" and found not in _BLOCKED:
        return False
    if decision not in (None, "blocked") and found != decision:
        return False
    if host and host.lower() not in str(event.data.get("host", "")).lower():
        return False
    return not text or text.lower() in str(event.data).lower()


def _print(event: StreamEvent, as_json: bool) -> None:
    print_json_line(event) if as_json else line(event_line(event))


def event_line(event: StreamEvent) -> str:
    """One event as people read it."""
    clock = time.strftime("%H:%M:%S", time.localtime(event.at))
    data = event.data
    if event.kind != "egress":
        return f"{clock} {event.slug:12} {event.kind:7} {data.get('level', '')} {data.get('text', '')}"
    what = (
        f"{data.get('method', '')} {data.get('scheme', '')}://{data.get('host', '')}{_port(data)}{data.get('path', '')}"
    )
    end = str(data.get("status") or data.get("code", ""))
    if data.get("decision") != "allow":
        end = f"{data.get('code', '')} {data.get('reason', '')}"
    elif data.get("phase") == "open":
        end = "open"
    return f"{clock} {event.slug:12} {data.get('decision', ''):7} {what} {end}"


def _port(data: dict[str, object]) -> str:
    usual = {"https": 443, "http": 80, "wss": 443, "ws": 80}.get(str(data.get("scheme")))
    return "" if data.get("port") in (usual, 0, None) else f":{data['port']}"
