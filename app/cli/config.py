"""Commands on the operator's own files: init, edit, settings. They need no controller."""

import getpass
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli.output import json_option, line, note, print_json, with_client
from app.errors import CarboyError, ConfigError
from app.paths import Paths, private_folder

if TYPE_CHECKING:
    from app.core.model import Ready


@click.command()
@click.option("--from", "source", type=click.Path(path_type=Path), help="Take agents/ and bottles/ of this folder.")
@click.option("--agents", help="Set up these alone, by provider: claude,codex (all that are found).")
@click.option("--yes", is_flag=True, help="Ask nothing.")
@json_option
def init(source: Path | None, agents: str | None, yes: bool, as_json: bool) -> None:
    """Create the config folder from the starter library, or from a folder with agents/ and bottles/ in it, and an
    agent for each agent CLI that is found here.

    A file that is there already is never overwritten.
    """
    from app.manifests import init as make

    paths = Paths.resolve()
    report = make(paths, from_dir=source)
    ready = [] if source is not None else _agents(paths, agents, ask=not (yes or as_json) and sys.stdin.isatty())
    report.written += [Path(file) for one in ready for file in one.written]
    if as_json:
        written, kept = [str(path) for path in report.written], [str(path) for path in report.kept]
        print_json(
            {"config": str(paths.config), "written": written, "kept": kept, "warnings": report.warnings}
            | {"agents": [_shown(one) for one in ready]}
        )
        return
    for path in report.written:
        line(f"wrote {path}")
    if report.kept:
        line(f"kept {len(report.kept)} that {'were' if len(report.kept) > 1 else 'was'} there already")
    for warning in report.warnings:
        note(f"warning: {warning}")
    for one in ready:
        _say(one)


def _agents(paths: Paths, only: str | None, *, ask: bool) -> "list[Ready]":
    """Set up the agents that are here, or those that were named or chosen; take the keys that they lack."""
    from app.manifests.agents import look, set_up

    found = look()
    names = [one.provider for one in found if one.found]
    if only is not None:
        names = [name.strip() for name in only.split(",") if name.strip()]
        known = {one.provider for one in found}
        if strange := sorted(set(names) - known):
            raise click.UsageError(f"There is no agent {strange[0]}: known are {', '.join(sorted(known))}")
    elif ask and names:
        note(f"Found here: {', '.join(one.title for one in found if one.found)}")
        names = [name for name in names if click.confirm(f"Set up {name}?", default=True, err=True)]
    made = set_up(paths, [one for one in found if one.provider in names])
    kept = _take_keys([one.wants for one in made if one.found and one.wants]) if ask else set[str]()
    made = [one.model_copy(update={"available": one.wants}) if one.wants in kept else one for one in made]
    return [*made, *(one for one in found if not one.found and one.provider not in names)]


def _take_keys(names: "list[str]") -> set[str]:
    """Ask for keys without echo and put them into the keyring; those that are there now. Empty leaves one for later."""
    from app.processes.private import keep_to_itself
    from sidecar.secret import Secret

    keep_to_itself()
    kept = set[str]()
    for name in dict.fromkeys(names):
        value = Secret(getpass.getpass(f"{name} (empty: later): ", stream=sys.stderr).strip())
        if not value:
            continue
        try:
            view = with_client(lambda client, name=name, value=value: client.set_secret(name, value))
        except CarboyError as error:  # no keyring, or it is locked: the setup stands without it
            note(f"  not kept: {error.render()}")
            break
        note(f"  {name} is in {view.keyring}")
        kept.add(name)
    return kept


def _shown(one: "Ready") -> dict[str, object]:
    return {**one.model_dump(mode="json", exclude={"written"}), "wants": one.wants}


def _say(one: "Ready") -> None:
    if not one.found:
        note(f"{one.provider}: not here. {one.hint}")
        return
    line(f"{one.title} {one.version}".rstrip() + f": carboy start {one.agent}")
    if one.wants:
        others = f" (or {', '.join(one.secrets[1:])})" if one.secrets[1:] else ""
        note(f"  it needs a key first: carboy secret set {one.wants}{others}")
    elif one.forwards:
        note("  with its own login on this host, which stays outside the bottle")


@click.command()
@click.argument("name")
def edit(name: str) -> None:
    """Open an agent (NAME or agent/NAME), a bottle file (bottle/NAME) or `settings` in $EDITOR, then check it."""
    from app.manifests import edit_target, validate_file

    paths = Paths.resolve()
    target = edit_target(paths, name)
    private_folder(target.parent)
    while True:
        open_editor(target)
        if not target.exists():
            note("nothing was written")
            return
        try:
            validate_file(paths, target)
        except ConfigError as error:
            if not sys.stdin.isatty():
                raise
            note(error.render())
            if not click.confirm("Edit it again?", default=True, err=True):
                raise CarboyError("The file was left as it is, with its error", "", "config") from None
        else:
            line(f"{target} is in order")
            return


def open_editor(target: Path) -> None:
    """Let the operator edit a file. Raises CarboyError where the editor cannot be started or fails."""
    from app import editor

    if not (os.environ.get("VISUAL") or os.environ.get("EDITOR") or sys.stdin.isatty()):
        raise click.UsageError("This is not a terminal: set EDITOR to a program that needs none")
    with editor.keys_are_its_own():
        editor.run(editor.command(), target)


@click.command()
@json_option
def settings(as_json: bool) -> None:
    """Show every setting and where its value comes from."""
    from app.cli.bottles import print_provenance
    from app.settings import load_settings

    found = load_settings(Paths.resolve()).provenance
    print_json(list(found)) if as_json else print_provenance(found)
