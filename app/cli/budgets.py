"""Commands about usage and budgets. Thin: parse, ask the controller, print."""

from typing import TYPE_CHECKING

import click

from app.cli.output import SLUG, json_option, line, note, print_json, table, with_client
from app.core import budget as budgets
from app.core.model import BudgetView, Sum
from app.core.scopes import shown
from app.core.spending import AnswerOrder, BudgetOrder, BudgetsReport, CutoffOrder, UsageReport
from app.core.trail import dollars
from app.core.units import count, plural
from app.errors import CarboyError

if TYPE_CHECKING:
    from app.client import Client

REASON = click.option("--reason", default="", help="Why, for the audit trail.")


def money(found: Sum) -> str:
    """What it cost, and that some of it has no price."""
    known = dollars(found.cost_nano)
    if not found.unpriced:
        return known
    unknown = f"{count(found.unpriced)} tokens: price unknown"
    return f"{known} + {unknown}" if found.cost_nano else unknown


@click.command()
@click.argument("slug", type=SLUG, required=False)
@click.option("--days", type=click.IntRange(1, 400), default=30, show_default=True, help="How far back.")
@json_option
def usage(slug: str | None, days: int, as_json: bool) -> None:
    """Show what this host used, or one bottle: tokens, cost, by model, by bottle, by day."""
    found = with_client(lambda client: client.usage(slug, days))
    print_json(found) if as_json else _print_usage(found)


def _print_usage(found: UsageReport) -> None:
    line(f"today: {found.today.total:,} tokens, {money(found.today)}")
    answers = f"{found.whole.requests:,} {plural('answer', found.whole.requests)}"
    line(f"in all: {found.whole.total:,} tokens in {answers}, {money(found.whole)}")
    if found.whole.estimated or found.whole.unmetered:
        line(f"of these {found.whole.estimated} answers estimated, {found.whole.unmetered} without any usage said")
    header = ("PROVIDER", "MODEL", "ANSWERS", "READ", "CACHED", "OUTPUT", "COST")
    rows = [(item.provider, item.model or "unknown", *_numbers(item.sum)) for item in found.models]
    if rows:
        print(table(rows, header))
    if found.bottles:
        named = [(item.scope, item.provider, *_numbers(item.sum)) for item in found.bottles[:50]]
        print(table(named, ("BOTTLE", "PROVIDER", *header[2:])))
    for item in found.windows:
        if item.used is not None:
            line(f"{item.provider} {item.name} window: {item.used:.0%} used")


def _numbers(found: Sum) -> tuple[str, ...]:
    written = count(found.input + found.cache_write)
    return (f"{found.requests:,}", written, count(found.cache_read), count(found.output), money(found))


class _Budget(click.Group):
    """`carboy budget` alone shows them."""


@click.group(cls=_Budget, invoke_without_command=True)
@json_option
@click.pass_context
def budget(ctx: click.Context, as_json: bool) -> None:
    """Show every budget and how the running bottles stand; or set, raise or clear one."""
    if ctx.invoked_subcommand is None:
        found = with_client(lambda client: client.budgets())
        print_json(found) if as_json else _print_budgets(found)


def _print_budgets(found: BudgetsReport) -> None:
    slugs = {one.scope: bottle.slug for bottle in found.bottles for one in bottle.budgets}
    rows = [_budget_row(item, slugs.get(item.scope, "")) for item in found.budgets]
    print(table(rows, ("SCOPE", "PROVIDER", "USED", "OF", "", "PERIOD", "FROM")) if rows else "no budget is set")
    for bottle in found.bottles:
        state = {"": "open", "budget": "cut off", "ask": "waits for you", "operator": "cut off by you"}
        line(f"{bottle.slug}: {state.get(bottle.cut, bottle.cut)}; a used up budget means {bottle.shutdown}")


def _budget_row(item: BudgetView, slug: str) -> tuple[str, ...]:
    name = slug if item.scope.startswith("launch:") and slug else shown(item.scope)
    source = "set by hand" if item.override else item.source
    return (
        name,
        item.provider,
        budgets.words(item.used, item.unit),
        budgets.words(item.limit, item.unit),
        f"{item.percent} %",
        item.period,
        source + (", hard" if item.hard else ""),
    )


def _order(
    scope: str, provider: str, amount: str | None, *, more: bool, hard: bool, reason: str, as_json: bool
) -> None:
    order = BudgetOrder(scope=scope, provider=provider, amount=amount, more=more, hard=hard, reason=reason)
    found = with_client(lambda client: _ordered(client, order))
    print_json(found) if as_json else _print_budgets(found)


async def _ordered(client: "Client", order: BudgetOrder) -> BudgetsReport:
    found = await client.set_budget(order)
    kind, colon, name = order.scope.partition(":")
    if colon and order.amount is not None:
        from app.paths import present_folder

        catalogue = await client.catalogue(present_folder())
        known = [entry.name for entry in (catalogue.agents if kind == "agent" else catalogue.bottles)]
        if name not in known:
            what = "agent" if kind == "agent" else "bottle file"
            there = f"there are {', '.join(known[:20])}" if known else "there is none at all"
            note(f"warning: no {what} is called {name} here, so this holds nothing yet; {there}")
    return found


@budget.command("set")
@click.argument("scope")
@click.argument("provider")
@click.argument("amount")
@click.option("--hard", is_flag=True, help="It holds besides, whatever is nearer.")
@REASON
@json_option
def budget_set(scope: str, provider: str, amount: str, hard: bool, reason: str, as_json: bool) -> None:
    """Set a budget: SCOPE is global, agent:NAME, bottle:NAME or a running bottle; AMOUNT is 500k, 5M or $20."""
    _order(scope, provider, amount, more=False, hard=hard, reason=reason, as_json=as_json)


@budget.command("raise")
@click.argument("scope")
@click.argument("provider")
@click.argument("amount")
@REASON
@json_option
def budget_raise(scope: str, provider: str, amount: str, reason: str, as_json: bool) -> None:
    """Raise a budget by AMOUNT, until its period ends. For a running bottle: each one that holds it up."""
    if ":" in scope or scope == "global":
        _order(scope, provider, amount, more=True, hard=False, reason=reason, as_json=as_json)
        return
    order = AnswerOrder(action="raise", provider=provider, amount=amount, reason=reason)
    view = with_client(lambda client: client.answer_budget(scope, order))
    print_json(view) if as_json else line(f"{scope}: raised")


@budget.command("clear")
@click.argument("scope")
@click.argument("provider")
@REASON
@json_option
def budget_clear(scope: str, provider: str, reason: str, as_json: bool) -> None:
    """Back to what the files say."""
    _order(scope, provider, None, more=False, hard=False, reason=reason, as_json=as_json)


@budget.command("policy")
@click.argument("slug", type=SLUG)
@click.argument("policy", type=click.Choice(("ask", "cutoff", "freeze", "kill")))
@REASON
@json_option
def budget_policy(slug: str, policy: str, reason: str, as_json: bool) -> None:
    """What a used up budget does to a running bottle."""
    order = AnswerOrder.model_validate({"action": "policy", "policy": policy, "reason": reason})
    view = with_client(lambda client: client.answer_budget(slug, order))
    print_json(view) if as_json else line(f"{slug}: a used up budget means {view.shutdown}")


@budget.command("answer")
@click.argument("slug", type=SLUG)
@click.argument("action", type=click.Choice(("raise", "cutoff", "freeze", "kill")))
@click.option("--amount", default="", help="By how much to raise it: 500k, 5M or $5.")
@click.option("--provider", default="", help="Which budget, where more than one is used up.")
@REASON
@json_option
def budget_answer(slug: str, action: str, amount: str, provider: str, reason: str, as_json: bool) -> None:
    """Answer a bottle that waits with a used up budget."""
    if (action == "raise") != bool(amount):
        raise CarboyError("--amount goes with raise, and with nothing else", f"carboy budget answer {slug} raise "
                          "--amount 500k", "usage")  # fmt: skip
    body = {"action": action, "provider": provider, "amount": amount, "reason": reason}
    view = with_client(lambda client: client.answer_budget(slug, AnswerOrder.model_validate(body)))
    print_json(view) if as_json else line(f"{slug}: {action}")


@click.command()
@click.argument("slug", type=SLUG)
@click.option("--all", "everything", is_flag=True, help="Close every host, not only the model's.")
@click.option("--provider", "providers", multiple=True, help="Only this provider's hosts (may be repeated).")
@click.option("--end-streams", is_flag=True, help="End what is under way as well.")
@REASON
@json_option
def cutoff(
    slug: str, everything: bool, providers: tuple[str, ...], end_streams: bool, reason: str, as_json: bool
) -> None:
    """Close the model's hosts of a bottle at once, until `carboy restore-egress`."""
    if everything and providers:
        raise CarboyError("--all closes every host", "Leave --provider out", "usage")
    scope = "all" if everything else "metered"
    order = CutoffOrder(scope=scope, providers=providers, end_streams=end_streams, reason=reason)
    view = with_client(lambda client: client.cutoff(slug, order))
    print_json(view) if as_json else line(f"{slug}: cut off")


@click.command("restore-egress")
@click.argument("slug", type=SLUG)
@REASON
@json_option
def restore_egress(slug: str, reason: str, as_json: bool) -> None:
    """Take a cutoff back. One that a budget made ends when the budget is raised."""
    view = with_client(lambda client: client.restore_egress(slug, CutoffOrder(reason=reason)))
    if as_json:
        print_json(view)
    else:
        line(f"{slug}: restored" if not view.cut else f"{slug}: taken back, and still cut off by a budget")
