"""Commands on the state of bottles: commit, resume, fork, archive, restore, purge."""

import sys
from typing import TYPE_CHECKING, Any

import click

from app.cli.bottles import each
from app.cli.output import SLUG, ago, json_option, line, need_terminal, note, print_json, run, with_client
from app.core.model import COLORS, LIVE, BottleView
from app.errors import CarboyError
from app.paths import present_folder

if TYPE_CHECKING:
    from app.client import Client


@click.command()
@click.argument("slug", type=SLUG, required=False)
@json_option
def commit(slug: str | None, as_json: bool) -> None:
    """Take a snapshot of a bottle; it runs on. Without a name: of the only one that runs."""

    async def work(client: "Client") -> BottleView:
        return await client.commit(slug or await _only_one(client))

    _show(with_client(work), "saved", as_json)


async def _only_one(client: "Client") -> str:
    live = [view.slug for view in await client.bottles() if view.state in LIVE]
    if len(live) != 1:
        raise CarboyError(f"{len(live)} bottles run", "Name one: carboy commit SLUG", "no_such_bottle")
    return live[0]


@click.command()
@click.argument("slug", type=SLUG)
@click.option("--detach", "-d", is_flag=True, help="Leave it running and print its name.")
@click.option("--dry-run", is_flag=True, help="Show what would be made, and make nothing.")
@json_option
def resume(slug: str, detach: bool, dry_run: bool, as_json: bool) -> int:
    """Go on with a session that is over: same bottles, label and colour, its files as they were, and its agent's own
    conversation."""
    return _launch({"resume": slug}, detach=detach, dry_run=dry_run, as_json=as_json)


@click.command()
@click.argument("slug", type=SLUG)
@click.option("--label", help="Its name; the slug is made of it.")
@click.option("--color", type=click.Choice(COLORS))
@click.option("--prompt", help="A task of its own.")
@click.option("--detach", "-d", is_flag=True, help="Leave it running and print its name.")
@click.option("--dry-run", is_flag=True, help="Show what would be made, and make nothing.")
@json_option
def fork(slug: str, detach: bool, dry_run: bool, as_json: bool, **fields: Any) -> int:
    """Start a second bottle from a snapshot; of a running one a snapshot is taken first."""
    return _launch({"fork": slug, **fields}, detach=detach, dry_run=dry_run, as_json=as_json)


def _launch(fields: dict[str, Any], *, detach: bool, dry_run: bool, as_json: bool) -> int:
    from app.cli import launching
    from app.cli.start import terminal_size
    from app.core.model import LaunchRequest

    rows, cols = terminal_size()
    request = LaunchRequest(cwd=present_folder(), rows=rows, cols=cols, **fields)
    if not (detach or dry_run):
        need_terminal("use --detach")
    return run(launching.start(request, dry_run=dry_run, detach=detach, as_json=as_json))


@click.command()
@click.argument("slugs", type=SLUG, nargs=-1, required=True)
@json_option
def archive(slugs: tuple[str, ...], as_json: bool) -> int:
    """Stop bottles, with a snapshot taken before, and put them into the archive: `restore` brings them back."""
    return each(slugs, "archived", lambda client, slug: client.archive(slug), as_json=as_json)


@click.command()
@click.argument("slug", type=SLUG)
@click.option("--as", "name", type=SLUG, help="Its new name, where its own is taken or another is wanted.")
@json_option
def restore(slug: str, name: str | None, as_json: bool) -> None:
    """Bring an archived bottle back; `carboy resume` goes on with it."""
    view = with_client(lambda client: client.restore(slug, name))
    _show(view, f"restored; go on with: carboy resume {view.slug}", as_json)


@click.command()
@click.argument("slug", type=SLUG)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def purge(slug: str, yes: bool, as_json: bool) -> None:
    """Remove for good what an ended or archived bottle left: home, copy of the project, transcript, images."""
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("Nobody can be asked: say --yes")
        note(f"Everything that {slug} left is removed for good.")
        print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise CarboyError("Nothing was removed", "", "not_purged")
    _show(with_client(lambda client: client.purge(slug)), "purged", as_json)


def _show(view: BottleView, text: str, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return
    line(f"{view.slug}: {text}")
    if text == "saved" and view.saved_at:
        note(f"its snapshot is {ago(view.saved_at)} old; `carboy fork {view.slug}` starts a second bottle from it")
        image = f", `docker save -o {view.slug}.image {view.saved_as}`" if view.saved_as else ""
        note(f"to take it to another machine: `carboy archive {view.slug}`, its folder{image} (docs/cli.md, commit)")
