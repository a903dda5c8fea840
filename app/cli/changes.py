"""Commands on what a bottle changed in its copy of the project: diff, pull."""

from typing import TYPE_CHECKING, Any

import click

from app.cli.output import json_option, line, note, print_json, with_client
from app.core.text import printable

if TYPE_CHECKING:
    from app.client import Client

_MARKS = {"added": "A", "changed": "M", "removed": "D", "link": "L", "other": "?"}


@click.command()
@click.argument("slug")
@click.argument("paths", nargs=-1)
@click.option("--names", is_flag=True, help="Only which files.")
@json_option
def diff(slug: str, paths: tuple[str, ...], names: bool, as_json: bool) -> None:
    """Show what a bottle changed in its copy of the project."""

    async def work(client: "Client") -> list[dict[str, Any]]:
        found = [one for one in await client.changes(slug) if not paths or _below(one["path"], paths)]
        if not (names or as_json):
            for one in found:
                line(f"{_MARKS[one['kind']]} {printable(one['path'], 400)}")
                if one["kind"] in ("added", "changed", "removed"):
                    print(await client.change(slug, one["path"]), end="")
        return found

    found = with_client(work)
    if as_json:
        print_json({"changes": found})
    elif names:
        for one in found:
            line(f"{_MARKS[one['kind']]} {printable(one['path'], 400)}")
    if not found and not as_json:
        line("no changes")


def _below(path: str, wanted: tuple[str, ...]) -> bool:
    return any(path == one.rstrip("/") or path.startswith(one.rstrip("/") + "/") for one in wanted)


@click.command()
@click.argument("slug")
@click.argument("paths", nargs=-1)
@click.option("--delete", is_flag=True, help="Also remove what was removed in the bottle.")
@json_option
def pull(slug: str, paths: tuple[str, ...], delete: bool, as_json: bool) -> None:
    """Bring a bottle's changes back into the project: all, or those at or below PATHs. Links and masked files stay."""
    done = with_client(lambda client: client.pull(slug, paths, delete=delete))
    if as_json:
        print_json(done)
        return
    for mark, key in (("wrote", "written"), ("removed", "removed")):
        for path in done[key]:
            line(f"{mark} {printable(path, 400)}")
    for reason in done["left"]:
        note(f"left as it is: {printable(reason, 400)}")
    if not (done["written"] or done["removed"]):
        line("nothing was changed")
