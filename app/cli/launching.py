"""What `carboy start` does between the flags and the agent's end: preflight, questions, launch, then terminal or text.

Questions go to stderr and are read from the terminal; nothing secret is echoed or printed. With --headless nothing is
ever asked: what is missing is an error.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from app.cli.asking import typed
from app.cli.output import connected, line, note, print_json
from app.cli.plain import PlainText
from app.commands import textual_key
from app.core.model import BottleView, LaunchRequest, Preflight
from app.errors import CarboyError, Refused
from app.tasks import cancel_and_wait, spawn
from sidecar.secret import Secret

if TYPE_CHECKING:
    from app.client import Client

ASKING = 3
"""Rounds of preflight and questions: answers can only make further questions in one more round."""

INTERRUPTED = 130
"""128 + SIGINT, as a shell has it."""


async def start(request: LaunchRequest, *, dry_run: bool, detach: bool, as_json: bool) -> int:
    """Carry out one `carboy start`; the exit code."""
    async with connected() as client:
        request, plan = await _prepare(client, request, ask=_may_ask(request, dry_run=dry_run))
        if dry_run:
            print_json(plan) if as_json else _print_plan(plan)
            return 1 if plan.problems else 0
        for problem in plan.problems[1:]:  # the launch says the first
            note(f"also: {problem}")
        view = await _launch(client, request, quiet=as_json)
        for text in view.notes:
            if text not in plan.warnings:
                note(f"note: {text}")
        if detach:
            print_json(view) if as_json else line(view.slug)
            return 0
        if request.headless:
            return await _follow(client, view.slug, as_json=as_json)
    code = await attach(view.slug)
    if code is None:
        note(f"{view.slug} runs on: carboy attach {view.slug}")
    return code or 0


def _may_ask(request: LaunchRequest, *, dry_run: bool) -> bool:
    """Where nobody sits at a terminal, what is missing is an error that says so, and no question."""
    return not request.headless and not dry_run and sys.stdin.isatty()


# --- before the launch ------------------------------------------------------------------------------------------


async def _prepare(client: "Client", request: LaunchRequest, *, ask: bool) -> tuple[LaunchRequest, Preflight]:
    """The request with everything it needs, and what it would make: what was told of it keeps its name."""
    plan = await client.preflight(request)
    request = _named(request, plan)
    for _ in range(ASKING):
        filled = _from_environment(request, plan)
        if ask and filled == request:
            filled = await _ask(request, plan)
        if filled == request:
            break
        request = filled
        plan = await client.preflight(request)
        request = _named(request, plan)
    for warning in plan.warnings:
        note(f"warning: {warning}")
    return request, plan


def _named(request: LaunchRequest, plan: Preflight) -> LaunchRequest:
    return request.model_copy(update={"name": plan.slug or None})


def _from_environment(request: LaunchRequest, plan: Preflight) -> LaunchRequest:
    """Hand over the variables that were asked for by name, no others."""
    wanted = {*plan.wants_env, *(need.name for need in plan.secrets if need.source == "missing")}
    found = {name: Secret(os.environ[name]) for name in wanted if os.environ.get(name) and name not in request.env}
    return request.model_copy(update={"env": {**request.env, **found}}) if found else request


async def _ask(request: LaunchRequest, plan: Preflight) -> LaunchRequest:
    """Ask for what is missing."""
    questions = {name: text for name, text in plan.wants_prompt.items() if name not in request.secrets}
    for need in plan.secrets:
        if need.source == "missing" and need.name not in request.secrets:
            questions.setdefault(need.name, f"{need.name} (for {need.used_by})")
    typed = {name: Secret(await _hidden(text)) for name, text in questions.items()}
    confirmed = [content for content in plan.confirm if content not in request.confirm]
    for content in confirmed:
        await _confirm(plan.confirm[content])
    if not typed and not confirmed:
        return request
    update = {"secrets": {**request.secrets, **typed}, "confirm": (*request.confirm, *confirmed)}
    return request.model_copy(update=update)


async def _hidden(question: str) -> str:
    value = await typed(f"{question}: ", hidden=True)
    if not value:
        raise CarboyError("Nothing was typed", "Store the secret in the keyring, or try again", "secret_missing")
    return value


async def _confirm(what: str) -> None:
    note(f"This project brings {what}.")
    answer = await typed("Let it run here? [y/N] ")
    if answer.strip().lower() not in ("y", "yes"):
        raise Refused("Not confirmed, so not started", "", "agent_not_confirmed")


def _print_plan(plan: Preflight) -> None:
    from app.cli.bottles import print_provenance

    refused = ", would be refused (see the end)" if plan.problems else ""
    line(f"{plan.slug}: {plan.agent or ' '.join(plan.command)} in {plan.lineage or 'no bottle'}{refused}")
    engine = f"/{plan.engine}" if plan.engine else ""
    line(f"backend {plan.backend}{engine}, isolation {plan.isolation}, workspace {plan.workspace} of {plan.cwd}")
    line(f"command: {' '.join(plan.command)}")
    for report in plan.tried:
        if not report.works:
            line(f"passed over {report.name}: {report.reason}")
    sections: tuple[tuple[str, Any], ...] = (
        ("would make", plan.creates),
        ("may reach", [route.get("host", "") for route in plan.routes]),
        ("secrets", [f"{need.name} for {need.used_by}: {need.source}" for need in plan.secrets]),
        ("hidden from it", plan.masks),
        ("to confirm", plan.confirm.values()),
    )
    for title, items in sections:
        if items:
            line(f"{title}:")
            for item in items:
                line(f"  {item}")
    line("resolved:")
    print_provenance(plan.resolved, defaults=False)
    for problem in plan.problems:
        note(f"would be refused: {problem}")


# --- the launch -------------------------------------------------------------------------------------------------


async def _launch(client: "Client", request: LaunchRequest, *, quiet: bool) -> BottleView:
    """Launch and show the steps; a ctrl+c undoes it."""
    session_id = ""
    watched = sys.stderr.isatty()
    try:
        async for item in client.launch(request):
            if isinstance(item, BottleView):
                return item
            session_id = item.session_id
            if quiet:
                continue
            if item.state == "running":
                if watched and item.detail:  # of a step that takes long, who waits at a terminal hears what it does
                    note(f"  {item.step}: {item.detail}")
            else:
                took = f" {item.ms:.0f} ms" if item.ms is not None else ""
                note(f"  {item.step}: {item.state}{took} {item.detail}".rstrip())
    except asyncio.CancelledError:
        if session_id:
            note("cancelled: undoing")
            with contextlib.suppress(CarboyError):
                await asyncio.shield(client.cancel_launch(session_id))
        raise
    raise CarboyError("The launch ended without an answer", "", "bad_answer")


# --- after it ---------------------------------------------------------------------------------------------------


async def _follow(client: "Client", slug: str, *, as_json: bool) -> int:
    """Print a headless agent's output until it ends; its exit code. A ctrl+c stops the agent."""
    # with --json stdout carries one object, the bottle as it ended
    printing = spawn(
        _print_output(client, slug, sys.stderr if as_json else sys.stdout), name="output", on_error=_raised
    )
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[Any]] = []

    def interrupted() -> None:
        if stopping:
            printing.cancel()
        else:
            note(f"stopping {slug}")
            stopping.append(spawn(client.stop(slug), name="stop", on_error=lambda _: None))

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted)
    try:
        await printing
        view = await client.wait(slug)
    except BrokenPipeError:
        note(f"nobody reads the output any more; {slug} runs on: carboy attach {slug}, or carboy stop {slug}")
        raise
    except asyncio.CancelledError:
        if not (stopping and printing.cancelled()):
            raise
        note(f"{slug} was told to stop, and is left to that")
        return INTERRUPTED
    finally:
        await cancel_and_wait(printing)
    if as_json:
        print_json(view)
    else:
        for text in (view.error, view.fault if view.exit_code else ""):
            if text:
                note(f"{slug}: {text}")
    return _exit_code(view)


def _raised(error: BaseException) -> None:
    """It is awaited, and raises again there."""
    del error


def _exit_code(view: BottleView) -> int:
    return 1 if view.exit_code is None else view.exit_code


async def _print_output(client: "Client", slug: str, stream: Any) -> None:
    plain = PlainText()
    async for data in _output(client, slug):
        stream.write(plain.feed(data))
        stream.flush()
    stream.write(plain.finish())
    stream.flush()


async def _output(client: "Client", slug: str) -> AsyncIterator[bytes]:
    """All output of the agent, through restarts of the controller: what was printed already is skipped then."""
    printed = 0
    while True:
        terminal = await client.terminal(slug)
        skip = printed
        try:
            async for data in terminal.output():
                rest = data[skip:]
                skip = max(0, skip - len(data))
                printed += len(rest)
                if rest:
                    yield rest
            return
        except CarboyError as error:
            if error.code != "connection_lost":
                raise
        finally:
            await terminal.close()


async def attach(slug: str) -> int | None:
    """The agent's terminal, full screen. Its exit code, or None where it runs on."""
    from app import attach as screen
    from app.client import Client

    async with await Client.connect() as client:
        view = await client.bottle(slug)

        async def connect(rows: int, cols: int) -> Any:
            return await client.terminal(view.slug, rows, cols)

        async def ended() -> int:
            return _exit_code(await client.wait(slug))

        return await screen.attach(connect, ended, leader=await _leader(client))


async def _leader(client: "Client") -> str:
    found = [item.value for item in await client.settings() if item.path == "leader_key"]
    return textual_key(str(found[0]) if found else "ctrl+]")
