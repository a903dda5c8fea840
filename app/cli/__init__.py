"""The command line: parse, call the client, print. Thin; the TUI and this are two clients of one controller.

Commands are loaded when they are called, so that `carboy --help` imports little more than click.
"""

import importlib
import os
import sys
from typing import Any

import click

from app.build import build
from app.errors import NO_ROOM, CarboyError, disk_full, no_access

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("app.cli.config:init", "Create the config folder from the starter library."),
    "start": ("app.cli.start:start", "Start an agent, or any command, in a bottle."),
    "models": ("app.cli.models:models", "List the models that an agent can be started with."),
    "attach": ("app.cli.start:attach", "Show an agent's terminal, full screen."),
    "list": ("app.cli.bottles:list_", "List running bottles, agents, bottle files or ended sessions."),
    "info": ("app.cli.bottles:info", "Show an agent, a bottle file or a running bottle."),
    "edit": ("app.cli.config:edit", "Edit an agent or bottle file, and check it."),
    "settings": ("app.cli.config:settings", "Show every setting and where it comes from."),
    "logs": ("app.cli.logs:logs", "Show what a bottle asked for and what became of it."),
    "routes": ("app.cli.approvals:routes", "Show or change what a bottle may reach."),
    "proposals": ("app.cli.approvals:proposals", "Show what waits for your decision."),
    "approve": ("app.cli.approvals:approve", "Approve a proposal."),
    "reject": ("app.cli.approvals:reject", "Reject a proposal."),
    "learn": ("app.cli.learn:learn", "Show what a session was refused, as a bottle file."),
    "report": ("app.cli.report:report", "Show what a bottle did, or all since you left."),
    "search": ("app.cli.search:search", "Search what agents said and did."),
    "notices": ("app.cli.notices:notices", "Show what you should have heard of."),
    "secret": ("app.cli.secrets:secret", "Keep secrets in the system keyring, list and remove them."),
    "give": ("app.cli.secrets:give", "Give a running bottle secrets that its sidecar lacks."),
    "stop": ("app.cli.bottles:stop", "Ask agents to end."),
    "kill": ("app.cli.bottles:kill", "End agents at once."),
    "freeze": ("app.cli.bottles:freeze", "Pause agents where they are."),
    "thaw": ("app.cli.bottles:thaw", "Let frozen agents go on."),
    "diff": ("app.cli.changes:diff", "Show what a bottle changed in its workspace."),
    "pull": ("app.cli.changes:pull", "Bring a bottle's changes back into the project."),
    "put-back": ("app.cli.changes:put_back", "Put the project's files back to what they were before a launch."),
    "commit": ("app.cli.keeping:commit", "Take a snapshot of a bottle."),
    "resume": ("app.cli.keeping:resume", "Go on with a session that is over."),
    "fork": ("app.cli.keeping:fork", "Start a second bottle from a snapshot."),
    "archive": ("app.cli.keeping:archive", "Stop bottles and put them into the archive."),
    "restore": ("app.cli.keeping:restore", "Bring an archived bottle back."),
    "purge": ("app.cli.keeping:purge", "Remove for good what a bottle left."),
    "cleanup": ("app.cli.system:cleanup", "Remove what dead sessions left behind."),
    "doctor": ("app.cli.system:doctor", "Say what works here, what is missing and how to get it."),
    "selftest": ("app.cli.selftest:selftest", "Attack a bottle from inside, and say what held."),
    "demo": ("app.cli.system:demo", "An offline tour with a scripted agent."),
    "scan": ("app.cli.scan:scan", "Say what the outbound and inbound scans find in a text."),
    "usage": ("app.cli.budgets:usage", "Show what was used: tokens, cost, by model and bottle."),
    "traces": ("app.cli.traces:traces", "Show what a bottle did, call by call."),
    "budget": ("app.cli.budgets:budget", "Show budgets, set or raise one."),
    "cutoff": ("app.cli.budgets:cutoff", "Close the model's hosts of a bottle at once."),
    "restore-egress": ("app.cli.budgets:restore_egress", "Take a cutoff back."),
    "audit": ("app.cli.system:audit", "Show the audit trail, and whether it holds."),
    "serve": ("app.cli.system:serve", "Be the controller (started by itself when needed)."),
}
"""Name → where it lives, and its line in the help (so that help loads nothing)."""


class _ReaderGone(Exception):
    """Whoever read our output has closed it: no fault, and click would end with 1."""


class _Lazy(click.Group):
    """Loads a command when it is called."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        try:
            return super().make_context(*args, **more)  # prints, where help is asked for
        except BrokenPipeError as error:
            raise _ReaderGone from error

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderGone from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        return getattr(importlib.import_module(module), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=_Lazy,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(build(), prog_name="carboy")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Run coding agents unattended, each in a bottle whose only way out is a proxy you control.

    Without a command: the full-screen app. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused, 124 timed out.
    """
    if ctx.invoked_subcommand is None:
        from app.cli.output import need_terminal

        need_terminal("`carboy --help` lists the commands that need none")
        from app.carboy import main

        ctx.exit(main() or 0)


def execute(argv: list[str]) -> int:
    """Run one command line and return its exit code. Every failure a person can mend is one line on stderr."""
    try:
        result = cli.main(argv, prog_name="carboy", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except CarboyError as error:
        say_error(error)
        return error.exit_code
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130  # 128 + SIGINT, as a shell has it
    except _ReaderGone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except TimeoutError:
        say_error(CarboyError("It took too long", "", "timeout"))
        return 124
    except OSError as error:
        if (closed := no_access(error)) is not None:
            say_error(closed)
            return 1
        if error.errno not in NO_ROOM:
            return _fault(error)
        output = CarboyError("The output cannot be written: the disk is full", "Make room where it goes", "disk_full")
        say_error(output if error.filename is None else disk_full(os.fsdecode(error.filename)))
        return 1
    except Exception as error:
        return _fault(error)


def _fault(error: Exception) -> int:
    """Of our own; told in one line, or raised for who looks for it."""
    if os.environ.get("CARBOY_LOG_LEVEL", "").upper() == "DEBUG":
        raise error
    text = f"Something in carboy itself failed: {type(error).__name__}: {error}"
    say_error(CarboyError(text, "CARBOY_LOG_LEVEL=DEBUG shows where", "internal"))
    return 1


def say_error(error: CarboyError) -> None:
    """One line on stderr."""
    from app.core.text import printable

    print(f"carboy: {printable(error.render(), 4000)}", file=sys.stderr)
