"""`carboy notices`: what the operator should have heard of."""

import click

from app.cli.output import ago, json_option, line, note, print_json, table, with_client
from app.core.notices import Notice
from app.errors import CarboyError
from app.paths import Paths
from app.settings import load_settings


@click.command()
@click.option("--read", is_flag=True, help="Mark them as read.")
@click.option("--clear", is_flag=True, help="Forget all of them.")
@click.option("--try", "trial", is_flag=True, help="Send a trial notice by notify_command and notify_webhook.")
@json_option
def notices(read: bool, clear: bool, trial: bool, as_json: bool) -> None:
    """Show the last hundred notices, the newest first."""
    if trial:
        sent = _try()
        print_json({"sent": sent}) if as_json else note(f"sent by {' and '.join(sent)}")
        return
    found = with_client(lambda client: client.notices())
    if read and found:
        with_client(lambda client: client.read_notices(found[0].id))
    if clear:
        with_client(lambda client: client.clear_notices())
    print_json(found) if as_json else _print(found)


def _try() -> list[str]:
    """A trial by every outlet that is set; their names."""
    settings = load_settings(Paths.resolve()).settings
    outlets = [name for name in ("notify_command", "notify_webhook") if getattr(settings, name)]
    if not outlets:
        raise CarboyError("No outlet is set", "Set notify_command or notify_webhook in settings.yml", "notify")
    faults = with_client(lambda client: client.try_notices())
    if faults:
        raise CarboyError("; ".join(faults), "Look at notify_command and notify_webhook in settings.yml", "notify")
    return outlets


def _print(found: list[Notice]) -> None:
    if not found:
        line("no notices")
        return
    rows = [(ago(item.at), "" if item.read else "new", item.about, item.title, item.text) for item in found]
    print(table(rows, ("AGE", "", "ABOUT", "WHAT", "DETAIL")))
