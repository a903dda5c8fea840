"""Commands that decide: proposals, approve, reject, and routes with its editor."""

import getpass
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.output import SLUG, ago, json_option, line, note, print_json, table, with_client
from app.core.units import date_and_time, time_of_day
from app.errors import CarboyError, ConfigError

if TYPE_CHECKING:
    from app.client import Client
    from app.core.approvals import ProposalView, RoutesView

SCOPES = ("once", "15m", "session", "save")


def who() -> str:
    """The operator, as the other one of two racing ones is told."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (OSError, KeyError):
        return f"user {os.getuid()} (command line)"


@click.command()
@click.argument("identity", metavar="[ID]", required=False)
@click.option("--all", "every", is_flag=True, help="Decided ones, too.")
@click.option("--slug", type=SLUG, help="Only those of this bottle.")
@json_option
def proposals(identity: str | None, every: bool, slug: str | None, as_json: bool) -> None:
    """Show what waits for your decision; with an ID, one proposal in full."""
    if identity:
        view = with_client(lambda client: _one(client, identity))
        print_json(view) if as_json else show(view)
        return
    found = with_client(lambda client: _waiting(client, slug, every))
    if as_json:
        print_json(found)
        return
    rows = [
        (item.id, item.slug, item.kind, item.title, _state(item), ago(item.created_at), _risks(item)) for item in found
    ]
    header = ("ID", "SLUG", "KIND", "WHAT", "STATE", "AGE", "NOTES")
    print(table(rows, header) if rows else "nothing is waiting")


async def _waiting(client: "Client", slug: str | None, every: bool) -> "list[ProposalView]":
    """Proposals, and the budgets that ask."""
    from app.core.asks import waiting

    found = await client.proposals(slug=slug, state=None if every else "pending")
    views = [view for view in await client.bottles() if slug in (None, view.slug)]
    return list(waiting(found, views))


async def _one(client: "Client", identity: str) -> "ProposalView":
    from app.core.asks import cards, named

    if (asked := named(identity)) is None:
        return await client.proposal(identity)
    found = [card for card in cards([await client.bottle(asked[0])]) if card.id == identity]
    if not found:
        raise CarboyError(f"{asked[0]} does not wait for an answer about its budget", "", "wrong_state")
    return found[0]


def _state(view: "ProposalView") -> str:
    """And for how long."""
    return f"{view.state} {view.scope}".strip()


def _risks(view: "ProposalView") -> str:
    words = [risk.code.replace("_", " ") for risk in view.risks]
    return ", ".join((["stale"] if view.stale else []) + words + (["failed"] if view.error else []))


def show(view: "ProposalView") -> None:
    """One proposal for people."""
    line(f"{view.id}: {view.kind} of {view.slug}, {view.state}")
    line(view.title)
    for name, text in (
        ("why", view.justification),
        ("reason", view.reason),
        ("by", view.decided_by),
        ("when", "" if view.decided_at is None else date_and_time(view.decided_at)),
        ("for", _how_long(view)),
        ("error", view.error),
    ):
        if text:
            line(f"{name + ':':8} {text}")
    for name, value in (view.report or {}).items():
        if value:
            line(f"{name + ':':12} {value}")
    _changes(view)


def _how_long(view: "ProposalView") -> str:
    from app.core.proposal import TEMPORARY

    if view.decided_at is None or view.scope not in TEMPORARY:
        return view.scope
    end = time_of_day(view.decided_at + TEMPORARY[view.scope])
    return f"{view.scope}, until {end}{' at most' if view.scope == 'once' else ''}"


def _changes(view: "ProposalView | RoutesView") -> None:
    _diff(view.diff)
    for text in getattr(view, "notes", ()):
        line(f"left out: {text}")
    for risk in view.risks:
        line(f"{'!' if risk.level == 'warn' else '-'} {risk.text}")
    if view.manifest is not None:
        line(f"{view.manifest.file}:")
        _diff(view.manifest.diff)


def _diff(lines: "tuple[str, ...]") -> None:
    """Whole: a long line goes on in the next."""
    from app.core.text import pieces

    for text in lines:
        for number, piece in enumerate(pieces(text, 1000)):
            line(f"  {'  ' if number else ''}{piece}")


@click.command()
@click.argument("identity", metavar="ID")
@click.option("--reason", default="", help="Why; the agent is told, and findings need one.")
@click.option("--file", "file", type=click.Path(path_type=Path), help="Apply this edited routes file instead.")
@click.option("--scope", type=click.Choice(SCOPES), default="session", show_default=True, help="For how long.")
@click.option("--preview", is_flag=True, help="Only show what would change.")
@click.option("--amount", default="", help="By how much to raise a budget that asks: 500k, 5M or $5.")
@json_option
def approve(
    identity: str, reason: str, file: Path | None, scope: Any, preview: bool, amount: str, as_json: bool
) -> None:
    """Approve a proposal, or raise a budget that asks (by --amount).

    once: until its first use, five minutes at most. 15m: for fifteen minutes. session: until the bottle ends.
    save: also in the bottle file, so that later bottles have it.
    """
    from app.core.approvals import ApproveBody
    from app.core.asks import named

    if (asked := named(identity)) is not None:
        if not amount:
            hint = f"carboy approve {identity} --amount 500k"
            raise CarboyError("How much more may it use?", hint, "bad_budget")
        _answer_budget(*asked, "raise", amount, reason, as_json)
        return
    text = _read(file) if file is not None else None
    body = ApproveBody(reason=reason, scope=scope, routes=text, by=who(), preview=preview)
    view = with_client(lambda client: client.approve(identity, body))
    if as_json:
        print_json(view)
        return
    line(f"{view.id}: would change" if preview else f"{view.id}: {view.state} ({scope})")
    _changes(view)


def _read(file: Path) -> str:
    from app.core.approvals import MAX_ROUTES_TEXT
    from app.files import read_bounded

    try:
        return read_bounded(file, MAX_ROUTES_TEXT).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", "Name a routes file", file=str(file)) from None


@click.command()
@click.argument("identity", metavar="ID")
@click.option("--reason", default="", help="Why; the agent is told.")
@json_option
def reject(identity: str, reason: str, as_json: bool) -> None:
    """Reject a proposal."""
    from app.core.approvals import RejectBody
    from app.core.asks import named

    if (asked := named(identity)) is not None:
        _answer_budget(*asked, "cutoff", "", reason, as_json)
        return
    view = with_client(lambda client: client.reject(identity, RejectBody(reason=reason, by=who())))
    print_json(view) if as_json else line(f"{view.id}: {view.state}")


def _answer_budget(slug: str, provider: str, action: str, amount: str, reason: str, as_json: bool) -> None:
    from app.core.spending import AnswerOrder

    body = {"action": action, "provider": provider, "amount": amount, "reason": reason, "by": who()}
    view = with_client(lambda client: client.answer_budget(slug, AnswerOrder.model_validate(body)))
    print_json(view) if as_json else line(f"{slug}: {'raised' if action == 'raise' else 'cut off'}")


@click.command()
@click.argument("slug", type=SLUG)
@click.option("--edit", is_flag=True, help="Open them in $EDITOR, and put the result into force.")
@click.option("--file", "file", type=click.Path(path_type=Path), help="Put this routes file into force.")
@click.option("--reason", default="", help="Why; kept in the audit trail.")
@click.option("--save", is_flag=True, help="Write the change into the bottle file as well.")
@json_option
def routes(slug: str, edit: bool, file: Path | None, reason: str, save: bool, as_json: bool) -> None:
    """Show what a running bottle may reach, or change it."""
    if edit or file is not None:
        view = with_client(lambda client: _change(client, slug, _read(file) if file else None, reason, save))
        if as_json:
            print_json(view)
        elif view.diff or view.manifest:
            _changes(view)
        else:
            line("nothing was changed")
        return
    found = with_client(lambda client: client.routes(slug))
    if as_json:
        print_json(found)
        return
    _print_routes(found)
    _print_temporary(with_client(lambda client: client.live_routes(slug)))


async def _change(client: "Client", slug: str, text: str | None, reason: str, save: bool) -> "RoutesView":
    from app.core.approvals import RoutesEdit

    now = await client.live_routes(slug)
    wanted = await _edited(now.text) if text is None else text
    return await client.edit_routes(
        slug,
        RoutesEdit(text=wanted, seen=now.seen, reason=reason, scope="save" if save else "session", by=who()),
    )


async def _edited(text: str) -> str:
    """What the operator's editor makes of `text`; asked again while it is no routes file."""
    import sys

    from app.cli.asking import typed
    from app.cli.config import open_editor
    from app.core.routetext import read_routes

    with tempfile.TemporaryDirectory(prefix="carboy-") as folder:
        file = Path(folder) / "routes.yml"
        file.touch(0o600)
        file.write_text(text)
        while True:
            open_editor(file)
            wanted = _read(file)
            try:
                read_routes(wanted, str(file))
            except ConfigError as error:
                if not sys.stdin.isatty():
                    raise
                note(error.render())
                if (await typed("Edit it again? [Y/n] ")).strip().lower() in ("n", "no"):
                    raise CarboyError("Nothing was changed", "", "config") from None
            else:
                return wanted


def _print_routes(found: list[dict[str, Any]]) -> None:
    header = ("HOST", "PORTS", "CREDENTIAL", "RULES")
    rows = [
        (
            str(route.get("host", "")),
            ",".join(str(port) for port in route.get("ports", ())),
            str((route.get("auth") or {}).get("token_ref", "")),
            _rules(route),
        )
        for route in found
    ]
    print(table(rows, header) if rows else "nothing: this bottle reaches no host")


def _print_temporary(view: "RoutesView") -> None:
    """What of it ends by itself."""
    rows = [
        (
            item.title or item.host,
            f"{'its first use, or ' if item.single else ''}{time_of_day(item.until)}",
            item.proposal,
        )
        for item in view.temporary
    ]
    if rows:
        print(f"\n{table(rows, ('FOR A WHILE', 'UNTIL', 'BY'))}")


def _rules(route: dict[str, Any]) -> str:
    parts = [
        f"{' '.join(match.get('methods', ()))} {' '.join(path['value'] for path in match.get('paths', ()))}".strip()
        for match in route.get("matches") or ()
    ]
    if (route.get("git") or {}).get("fetch"):
        parts.append("git fetch")
    return "; ".join(part for part in parts if part) or "any"
