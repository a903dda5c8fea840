"""Commands on carboy itself: serve, doctor, cleanup, demo, audit."""

import os
import sys
from typing import TYPE_CHECKING, Any, cast

import click

from app.cli.output import ago, connected, json_option, line, need_terminal, note, print_json, run, table, with_client
from app.core.model import Doctor
from app.errors import CarboyError

if TYPE_CHECKING:
    pass


@click.command()
@click.option("--stop", is_flag=True, help="End the running controller; bottles run on.")
@click.option("--restart", is_flag=True, help="Put a new one in its place, as after an update; bottles run on.")
@click.option("--force", is_flag=True, help="With --stop: even while bottles run.")
@click.option("--install", is_flag=True, help="Run it as a service of your session from now on.")
@click.option("--print", "show", is_flag=True, help="With --install: only show the file that would be written.")
@click.option("--stay", is_flag=True, help="Do not end when idle.")
@click.option("--detached", is_flag=True, hidden=True)
@click.option("--replace", is_flag=True, hidden=True)
@click.option("--ready-fd", type=int, hidden=True)
def serve(
    stop: bool,
    restart: bool,
    force: bool,
    install: bool,
    show: bool,
    stay: bool,
    ready_fd: int | None,
    **way: bool,
) -> int:
    """Be the controller, in the foreground. Clients start one by themselves when they need it."""
    if stop:
        run(_stop(force))
        return 0
    if restart:
        run(_restart(stay))
        return 0
    if install or show:
        return _install(show=show)
    from app.controller import main

    return main.serve(ready_fd=ready_fd, stay=stay, **way)


def _install(*, show: bool) -> int:
    from app import service

    found = service.here()
    if show:
        note(f"{found.file}:")
        print(found.text, end="")
        return 0
    faults = service.install(found)
    line(f"wrote {found.file}")
    for fault in faults:
        note(fault)
    if found.after:
        note(found.after)
    return 1 if faults else 0


async def _stop(force: bool) -> None:
    import asyncio

    from app.client import Client
    from app.client.start import answers
    from app.paths import Paths

    paths = Paths.resolve()
    try:
        client = await Client.connect(paths, start=False)
    except CarboyError as error:
        if error.code != "no_controller":
            raise
        line("no controller is running")
        return
    async with client:
        await client.shutdown(force=force)
    async with asyncio.timeout(30):
        # a socket has no event for its own removal, and the process is not our child
        while await answers(paths):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    line("the controller has ended")


async def _restart(stay: bool) -> None:
    from app import service
    from app.build import build
    from app.client import Client
    from app.client.start import replace
    from app.paths import Paths

    paths = Paths.resolve()
    await replace(paths, stay=stay)
    async with await Client.connect(paths, start=False) as client:
        status = await client.status()
    line(f"the controller is carboy {build()} now")
    if status.bottles:
        note("Bottles run on, each with the sidecar that it has: R in the app gives it a new one")
    unit = service.service(os.environ, sys.platform, sys.executable, user="").file
    if unit.exists():
        note(f"It is none of the service manager's: the service of {unit} begins again at your next login")


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """Say what works here, what is missing and how to get it. Exit code 1 where no backend works."""
    found = run(_doctor())
    if as_json:
        print_json(found)
    else:
        _print_doctor(found)
    return 0 if any(report.works for report in found.backends) else 1


async def _doctor() -> Doctor:
    try:
        async with connected() as client:
            found = await client.doctor()
    except CarboyError as error:
        # a controller that cannot start is the first thing a doctor must be able to tell of
        from app.core.model import DoctorCheck
        from app.doctor import examine

        local = await examine()
        broken = DoctorCheck(name="controller", ok=False, text=error.message, fix=error.hint)
        return local.model_copy(update={"checks": (broken, *local.checks)})
    from app.doctor import terminal_check

    return found.model_copy(update={"checks": (*found.checks, terminal_check())})


def _print_doctor(found: Doctor) -> None:
    for check in found.checks:
        line(f"{'ok ' if check.ok else 'NO '} {check.name:14} {check.text}")
        if not check.ok and check.fix:
            line(f"                   {check.fix}")
    print()
    for report in found.backends:
        engine = f" ({report.engine}{' ' + report.version if report.version else ''})" if report.engine else ""
        line(f"{'ok ' if report.works else 'NO '} {report.name}{engine}: isolation {report.isolation}")
        for text in (report.reason, report.fix, *report.notes):
            if text:
                line(f"    {text}")
        for name, way in report.ways.items() if report.works else ():
            line(f"    no {name.replace('_', ' ')}: {way}")


@click.command()
@json_option
def cleanup(as_json: bool) -> None:
    """Remove what dead sessions left behind. Never touches what is live or preserved."""
    report = with_client(lambda client: client.cleanup())
    if as_json:
        print_json(report)
        return
    for removed in report.removed:
        line(f"removed {removed}")
    if not report.removed:
        line("nothing to remove")
    if report.kept:
        note(f"kept: {', '.join(report.kept)}")


def _told(detail: dict[str, Any]) -> str:
    """A row's detail in one line: what it holds, without what is empty. `--json` has all of it."""
    parts: list[str] = []
    for name, value in detail.items():
        if value in ("", None, False) or value == [] or value == {}:
            continue
        if name == "diff":
            parts.append(f"diff of {len(value)} lines")
        elif isinstance(value, list):
            parts.append(f"{name} {' '.join(map(str, cast('list[Any]', value)))}")
        else:
            parts.append(f"{name} {value}")
    return ", ".join(parts)


@click.command()
@click.option("--verify", is_flag=True, help="Only say whether it holds.")
@json_option
def audit(verify: bool, as_json: bool) -> int:
    """Show the audit trail, and whether it holds. Exit code 1 where it does not."""
    found = with_client(lambda client: client.audit())
    if as_json:
        print_json(found)
    elif not verify:
        rows = [
            (str(row["number"]), ago(row["at"]), row["action"], row["actor"], row["slug"], _told(row["detail"]))
            for row in found["rows"]
        ]
        print(table(rows, ("ROW", "AGE", "ACTION", "BY", "BOTTLE", "DETAIL")) if rows else "the audit trail is empty")
    for finding in found["findings"]:
        note(f"the trail does not hold: {finding['text']}")
    if verify and not found["findings"] and not as_json:
        line(f"the trail holds: {len(found['rows'])} rows")
    return 1 if found["findings"] else 0


@click.command()
@click.option("--headless", is_flag=True, help="No terminal: print the story, and check that it went as it should.")
def demo(headless: bool) -> int:
    """An offline tour: a scripted agent in a real bottle, a pretend API, allowed and refused requests.

    Shown in the full-screen app. With --headless it is printed and checked: exit code 1 where anything did not hold.
    """
    if not headless:
        need_terminal("use --headless")
    from app.demo import main

    return main(headless=headless)
