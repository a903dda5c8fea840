"""Commands on what a bottle changed in its workspace: diff, pull, put-back."""

import posixpath
from typing import TYPE_CHECKING

import click

from app.cli.output import SLUG, json_option, line, note, print_json, with_client
from app.core.changed import MARKS, NOTHING, Brought, Changed, Changes
from app.core.text import printable
from app.errors import CarboyError

if TYPE_CHECKING:
    from app.client import Client


@click.command()
@click.argument("slug", type=SLUG)
@click.argument("paths", nargs=-1)
@click.option("--names", is_flag=True, help="Only which files.")
@json_option
def diff(slug: str, paths: tuple[str, ...], names: bool, as_json: bool) -> None:
    """Show what a bottle changed: in its copy of the project, or in the project itself since its launch."""

    async def work(client: "Client") -> Changes:
        found = await client.changes(slug)
        wanted = [posixpath.normpath(path) for path in paths]
        for path in wanted if found.workspace not in NOTHING else ():
            if path != "." and not any(_at(one.path, path) for one in found.changes):
                await client.difference(slug, path)  # which raises where there is no such path at all
        own = tuple(one for one in found.changes if not wanted or any(_at(one.path, path) for path in wanted))
        if not (names or as_json):
            for one in own:
                await _show(client, slug, one)
        return found.model_copy(update={"changes": own})

    found = with_client(work)
    if as_json:
        print_json(found)
        return
    for one in found.changes if names else ():
        _name(one)
    if not found.changes:
        line(NOTHING.get(found.workspace, "no changes"))
    if found.left_out:
        note(f"not compared: {', '.join(printable(path, 200) for path in found.left_out[:20])}")


def _name(one: Changed) -> None:
    line(f"{MARKS[one.kind]} {printable(one.path, 400)}")


async def _show(client: "Client", slug: str, one: Changed) -> None:
    _name(one)
    if one.kind in ("added", "changed", "removed"):
        try:
            print(await client.difference(slug, one.path), end="")
        except CarboyError as error:  # the bottle runs on: it may be gone since it was listed
            if error.code != "no_such_file":
                raise
            note(f"{printable(one.path, 400)} is gone meanwhile")


def _at(path: str, wanted: str) -> bool:
    return wanted == "." or path == wanted or path.startswith(wanted + "/")


@click.command()
@click.argument("slug", type=SLUG)
@click.argument("paths", nargs=-1)
@click.option("--delete", is_flag=True, help="Also remove what was removed in the bottle.")
@json_option
def pull(slug: str, paths: tuple[str, ...], delete: bool, as_json: bool) -> None:
    """Bring the changes of a bottle's copy into the project: all, or those at or below PATHs. Links and masked files
    stay."""
    _brought(with_client(lambda client: client.pull(slug, paths, delete=delete)), as_json)


@click.command("put-back")
@click.argument("slug", type=SLUG)
@click.argument("paths", nargs=-1, required=True)
@json_option
def put_back(slug: str, paths: tuple[str, ...], as_json: bool) -> None:
    """Put files of the project back to what they were before the bottle was launched in it: those at or below PATHs.
    What was added since is removed."""
    _brought(with_client(lambda client: client.put_back(slug, paths)), as_json)


def _brought(done: Brought, as_json: bool) -> None:
    if as_json:
        print_json(done)
        return
    for path in done.written:
        line(f"wrote {printable(path, 400)}")
    for path in done.removed:
        line(f"removed {printable(path, 400)}")
    for reason in done.left:
        note(f"left as it is: {printable(reason, 400)}")
    if not (done.written or done.removed):
        line("nothing was changed")
