"""Commands on the operator's own files: init, edit, settings. They need no controller."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click

from app.cli.output import json_option, line, note, print_json
from app.errors import CarboyError, ConfigError
from app.paths import Paths, private_folder


@click.command()
@click.option("--from", "source", type=click.Path(path_type=Path), help="Take agents/ and bottles/ of this folder.")
@json_option
def init(source: Path | None, as_json: bool) -> None:
    """Create the config folder from the starter library, or from a folder with agents/ and bottles/ in it.

    A file that is there already is never overwritten.
    """
    from app.manifests import init as make

    paths = Paths.resolve()
    report = make(paths, from_dir=source)
    if as_json:
        written, kept = [str(path) for path in report.written], [str(path) for path in report.kept]
        print_json({"config": str(paths.config), "written": written, "kept": kept, "warnings": report.warnings})
        return
    for path in report.written:
        line(f"wrote {path}")
    if report.kept:
        line(f"kept {len(report.kept)} that {'were' if len(report.kept) > 1 else 'was'} there already")
    for warning in report.warnings:
        note(f"warning: {warning}")


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
    given = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    editor = shlex.split(given) if given else [next(filter(shutil.which, ("nano", "vim", "vi")), "vi")]
    try:
        code = subprocess.call([*editor, str(target)])
    except OSError as error:
        hint = "Set EDITOR to an editor that is installed"
        raise CarboyError(f"{editor[0]} cannot be started: {error.strerror}", hint, "editor") from None
    if code != 0:
        raise CarboyError(f"{editor[0]} ended with code {code}", "", "editor")


@click.command()
@json_option
def settings(as_json: bool) -> None:
    """Show every setting and where its value comes from."""
    from app.cli.bottles import print_provenance
    from app.settings import load_settings

    found = load_settings(Paths.resolve()).provenance
    print_json(list(found)) if as_json else print_provenance(found)
