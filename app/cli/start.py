"""`carboy start` and `carboy attach`: from flags to a running agent, and to its terminal or its output."""

import os
from typing import Any

import click

from app.cli.output import SLUG, json_option, need_terminal, note, print_json, run
from app.core.model import COLORS
from app.paths import present_folder
from sidecar.secret import Secret

_ALONE = ("park", "reject", "stop")
_USED_UP = ("ask", "cutoff", "freeze", "kill")
_WORKSPACES = ("mount", "read-only", "copy", "none")


class _WithCommand(click.Command):
    """Takes everything after `--` as the command to run, untouched."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            args, ctx.meta["command"] = args[:at], tuple(args[at + 1 :])
        return super().parse_args(ctx, args)


def _budgets(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in value:
        provider, equals, amount = item.partition("=")
        if not equals:
            provider, amount = "", item
        elif not provider:
            amount = ""
        if not amount:
            raise click.BadParameter(f"{item!r}: write an amount, such as 500k, or PROVIDER=AMOUNT", ctx, param)
        found[provider] = amount
    return found


def _secrets(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, Secret]:
    """Each read once, from its own descriptor: neither arguments nor the environment show it to other processes."""
    from app.cli.secrets import from_descriptor
    from app.processes.private import keep_to_itself

    found: dict[str, Secret] = {}
    for item in value:
        name, _, number = item.partition("=")
        if not name or not number.isascii() or not number.isdigit():
            raise click.BadParameter(f"{item!r}: write NAME=FD, such as OPENAI_API_KEY=3", ctx, param)
        keep_to_itself()
        found[name] = Secret(from_descriptor(int(number)))
    return found


@click.command(cls=_WithCommand, options_metavar="[OPTIONS]", epilog="Everything after -- is run instead of an agent.")
@click.argument("agent", required=False)
@click.option("--bottle", "-b", "bottles", multiple=True, help="A bottle file; more than one are merged in order.")
@click.option("--backend", help="auto, or a backend by name (CARBOY_BACKEND).")
@click.option("--label", help="Its name; the slug is made of it.")
@click.option("--color", type=click.Choice(COLORS))
@click.option("--model", help="The agent's model.")
@click.option(
    "--budget",
    multiple=True,
    callback=_budgets,
    help="500k or $5 for this launch; PROVIDER=AMOUNT for another than its own.",
)
@click.option("--shutdown", type=click.Choice(_USED_UP), help="What a used up budget does to it.")
@click.option(
    "--unattended", type=click.Choice(_ALONE), help="While you are away: park what asks you, reject it, or stop."
)
@click.option("--cwd", type=click.Path(file_okay=False), help="The project folder (else the present one).")
@click.option("--workspace", type=click.Choice(_WORKSPACES), help="How the bottle sees the project.")
@click.option("--prompt", help="The task.")
@click.option("--task", help="The task, by its name in the prompt library (`carboy list prompts`).")
@click.option("--headless", is_flag=True, help="Without a terminal; never asks anything.")
@click.option(
    "--secret-fd", "secrets", multiple=True, callback=_secrets, help="NAME=FD: a secret for this launch, read there."
)
@click.option("--learn", is_flag=True, help="Record what is refused, for `carboy learn`.")
@click.option("--detach", "-d", is_flag=True, help="Leave it running and print its name.")
@click.option("--dry-run", is_flag=True, help="Show what would be made, and make nothing (CARBOY_DRY_RUN).")
@json_option
@click.pass_context
def start(
    ctx: click.Context,
    agent: str | None,
    budget: dict[str, str],
    cwd: str | None,
    detach: bool,
    dry_run: bool,
    as_json: bool,
    task: str | None,
    **fields: Any,
) -> int:
    """Start an agent, or any command after --, in a bottle.

    Without --detach it ends with the agent's own exit code. With --headless the agent's output is printed as text.
    """
    from app.cli import launching
    from app.core.model import LaunchRequest

    command = ctx.meta.get("command", ())
    if not agent and not command:
        raise click.UsageError("Name an agent (`carboy list agents` shows which there are), or give a command after --")
    if task:
        fields["prompt"] = _from_library(task, fields["prompt"])
    headless = fields["headless"]
    if headless and not (fields["prompt"] or command):
        raise click.UsageError("--headless needs --prompt or a command")
    dry_run = dry_run or os.environ.get("CARBOY_DRY_RUN", "") not in ("", "0")
    interactive = not (headless or detach or dry_run)
    if interactive:
        need_terminal("use --headless or --detach")
    rows, cols = terminal_size()
    fields["bottles"] = fields["bottles"] or None
    fields["backend"] = fields["backend"] or os.environ.get("CARBOY_BACKEND") or None
    where = os.path.normpath(os.path.join(present_folder(), cwd or "."))
    request = LaunchRequest(agent=agent, command=command, budget=budget, cwd=where, rows=rows, cols=cols, **fields)
    return run(launching.start(request, dry_run=dry_run, detach=detach, as_json=as_json))


def _from_library(name: str, more: str | None) -> str:
    """A ready task, and what was written besides."""
    from app.manifests.prompts import prompt
    from app.paths import Paths

    text = prompt(Paths.resolve(), name)
    return f"{text}\n\n{more}" if more else text


def terminal_size() -> tuple[int, int]:
    try:
        size = os.get_terminal_size()
    except OSError:
        return 24, 80
    return max(1, min(size.lines, 1000)), max(1, min(size.columns, 1000))


@click.command()
@click.argument("slug", type=SLUG)
@json_option
def attach(slug: str, as_json: bool) -> int:
    """Show an agent's terminal, full screen. Leave with the leader key, then d; the agent runs on."""
    from app.cli import launching

    if as_json:
        from app.cli.output import with_client

        print_json(with_client(lambda client: client.bottle(slug)))
        return 0
    need_terminal("`carboy logs` shows what the bottle does")
    code = run(launching.attach(slug))
    if code is None:
        note(f"{slug} runs on")
    return code or 0
