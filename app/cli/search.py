"""`carboy search`: what agents said and did, by words."""

import time

import click

from app.cli.output import SLUG, json_option, line, note, print_json, with_client
from app.core.found import Found, Passage
from app.core.text import printable


@click.command()
@click.argument("text", nargs=-1)
@click.option("--bottle", "slug", type=SLUG, help="Only sessions of this bottle.")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True, help="Most hits.")
@click.option("--around", "number", type=int, help="What was said around a hit, by its number.")
@json_option
def search(text: tuple[str, ...], slug: str | None, limit: int, number: int | None, as_json: bool) -> None:
    """Search the transcripts of live and past sessions. Every word must be there; the beginning of one is enough,
    "quoted words" stand side by side. Best hits first."""
    if number is not None:
        passage = with_client(lambda client: client.around(number))
        print_json(passage) if as_json else _passage(passage)
        return
    words = " ".join(text).strip()
    if not words:
        raise click.UsageError("Write what to search for, or --around NUMBER")
    found = with_client(lambda client: client.search(words, slug, limit))
    print_json(found) if as_json else _hits(found)


def _hits(found: Found) -> None:
    if not found.hits:
        line("nothing found")
        return
    for hit in found.hits:
        line(f"{hit.id}  {hit.slug}  {_when(hit.at)}  {hit.kind}{f' {hit.tool}' if hit.tool else ''}")
        line(f"    {hit.snippet}")
    more = ", and more (--limit)" if found.more else ""
    note(f"{len(found.hits)} hits{more}; `carboy search --around NUMBER` shows more of one")


def _passage(passage: Passage) -> None:
    line(f"{passage.hit.slug} ({passage.hit.session_id})")
    for said in passage.entries:
        line(f"{'> ' if said.here else '  '}{_when(said.at)}  {said.kind}{f' {said.tool}' if said.tool else ''}")
        for one in said.text.split("\n")[:200]:
            print(f"      {printable(one, 500)}")


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at)) if at else "-"
