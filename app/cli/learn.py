"""`carboy learn`: what a session was refused, as the narrowest bottle file that would allow it."""

import click

from app.cli.output import SLUG, json_option, line, note, print_json, with_client
from app.core.learning import LearnedHost, LearnReport
from app.core.units import plural
from app.errors import CarboyError


@click.command()
@click.argument("slug", type=SLUG)
@click.option("--host", "hosts", multiple=True, help="With --save: only this host; more than one may be given.")
@click.option("--save", is_flag=True, help="Write the bottle file into the config folder.")
@click.option("--name", help="With --save: the new bottle's name (learned-SLUG).")
@json_option
def learn(slug: str, hosts: tuple[str, ...], save: bool, name: str | None, as_json: bool) -> None:
    """Show what a bottle was refused, and the bottle file that would allow it. Nothing is allowed by that."""
    report = with_client(lambda client: client.learned(slug))
    if not save:
        print_json(report) if as_json else _print(report)
        return
    chosen = hosts or tuple(item.host for item in report.hosts if not item.known and not item.resembles)
    if not chosen:
        raise CarboyError(f"{slug} was refused no new host", "There is nothing to write", "learn_host")
    file = with_client(lambda client: client.save_learned(slug, chosen, name or report.name))
    print_json({"file": file, "hosts": chosen}) if as_json else line(f"wrote {file}: read it before you use it")


def _print(report: LearnReport) -> None:
    if not report.hosts:
        note(f"{report.slug} was refused nothing that a route would mend")
    for item in report.hosts:
        for text in _host(item):
            note(text)
    for code, times in report.other.items():
        note(f"not to be learned: {code}, {times} {plural('time', times)}")
    if report.left_out:
        note(f"and {report.left_out} more hosts")
    if report.dropped:
        were = "line was" if report.dropped == 1 else "lines were"
        note(f"{report.dropped:,} older {were} dropped to make room, and may have told of more: `keep` in settings.yml")
    if report.hosts:
        for text in report.text.splitlines():
            line(text)


def _host(item: LearnedHost) -> list[str]:
    said = [f"{item.host}: {item.times} {plural('time', item.times)}" + (", has a route already" if item.known else "")]
    if item.letters:
        said.append(f"  in its own letters: {item.letters}")
    if item.resembles:
        said.append(f"  LOOKS LIKE {item.resembles}, and is not")
    return [*said, *(f"  {one.method} {one.path}{'…' if one.prefix else ''} {one.times}×" for one in item.asked[:12])]
