"""Commands on bottles: list, info, stop, kill, freeze, thaw."""

import shlex
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, cast

import click

from app.cli import say_error
from app.cli.output import SLUG, ago, json_option, line, note, print_json, table, with_client
from app.core.bottles import lost, stalled
from app.core.model import LIVE, BottleView, Catalogue, Provenance
from app.core.units import date_and_time
from app.errors import CarboyError, NotFound
from app.paths import present_folder

if TYPE_CHECKING:
    from app.client import Client

_MOMENTS = frozenset({"at", "last_activity"})
_WHATS = ("active", "agents", "bottles", "archived", "prompts")


@click.command("list")
@click.argument("what", type=click.Choice(_WHATS), default="active")
@json_option
def list_(what: str, as_json: bool) -> None:
    """List bottles that run or wait to be looked at (active), agents, bottle files (bottles), ended sessions
    (archived), or ready tasks (prompts)."""
    if what in ("active", "archived"):
        views = with_client(lambda client: client.bottles(ended=what == "archived"))
        if what == "active":
            views = [view for view in views if view.state != "ended" or view.saved_at]
        print_json(views) if as_json else _print_views(views)
        return
    found = with_client(lambda client: client.catalogue(present_folder()))
    if as_json:
        print_json(list({"agents": found.agents, "prompts": found.prompts}.get(what, found.bottles)))
        return
    {"agents": _print_agents, "prompts": _print_prompts}.get(what, _print_bottle_files)(found)
    for warning in found.warnings:
        note(f"warning: {warning}")


def _print_prompts(found: Catalogue) -> None:
    rows = [(item.name, item.error or item.description) for item in found.prompts]
    print(table(rows, ("NAME", "WHAT")))


def _print_views(views: list[BottleView]) -> None:
    header = ("SLUG", "STATE", "AGENT", "PROVIDER", "BACKEND", "SIDECAR", "ALLOWED", "REFUSED", "AGE", "TITLE")
    rows = [
        (
            view.slug,
            _state(view),
            view.agent or "",
            view.provider,
            f"{view.backend}/{view.engine}" if view.engine else view.backend,
            view.sidecar.state if view.state in LIVE else "",
            str(view.allowed),
            str(view.refused),
            ago(view.created_at),
            lost(view) or _wrong(view) or view.title or view.error,
        )
        for view in views
    ]
    print(table(rows, header) if rows else "no bottles")


def _wrong(view: BottleView) -> str:
    """Why it failed, or what its model's provider answers."""
    if view.state == "failed":
        return view.error or view.fault
    return view.fault if view.state == "running" else ""


def _state(view: BottleView) -> str:
    if view.engine_gone and view.state in LIVE:
        return "lost"
    if view.missing_secrets and view.state in LIVE:
        return f"{view.state}, lacks {' '.join(view.missing_secrets)}"
    if stalled(view):
        return "stalled"
    if view.state == "running" and view.doing in ("idle", "waiting"):
        return view.doing
    return f"{view.state} ({view.exit_code})" if view.exit_code and view.state != "stopped" else view.state


def _print_agents(found: Catalogue) -> None:
    rows = [
        (entry.name, entry.bottle or "", entry.origin, entry.error or _trust(entry.confirmed) + entry.description)
        for entry in found.agents
    ]
    print(table(rows, ("AGENT", "BOTTLE", "FROM", "DESCRIPTION")) if rows else "no agents: run `carboy init`")


def _trust(confirmed: bool) -> str:
    return "" if confirmed else "(not confirmed yet) "


def _print_bottle_files(found: Catalogue) -> None:
    rows = [(entry.name, entry.provider or "", entry.error or entry.lineage) for entry in found.bottles]
    print(table(rows, ("BOTTLE", "PROVIDER", "LINEAGE")) if rows else "no bottle files: run `carboy init`")


@click.command()
@click.argument("name")
@json_option
def info(name: str, as_json: bool) -> None:
    """Show a running bottle, else an agent or bottle file with where each of its values comes from."""
    cwd = present_folder()

    async def work(client: "Client") -> tuple[BottleView | None, dict[str, Any], tuple[Provenance, ...]]:
        try:
            return await client.bottle(name), {}, ()
        except NotFound:
            catalogue = await client.catalogue(cwd)
        agent, bottles = _named(catalogue, name)
        manifest, provenance = await client.manifest(agent, bottles, cwd)
        return None, manifest, provenance

    view, manifest, provenance = with_client(work)
    if as_json:
        print_json(view if view is not None else {"manifest": manifest, "provenance": list(provenance)})
    elif view is not None:
        _print_fields(view)
    else:
        print_provenance(provenance, defaults=False)


def _named(catalogue: Catalogue, name: str) -> tuple[str | None, tuple[str, ...] | None]:
    for entry in (*catalogue.agents, *catalogue.bottles):
        if entry.name == name and entry.error:
            raise CarboyError(entry.error, f"Mend it with: carboy edit {name}", "config")
    if any(entry.name == name for entry in catalogue.agents):
        return name, None
    if any(entry.name == name for entry in catalogue.bottles):
        return None, (name,)
    raise NotFound(
        f"There is no bottle, agent or bottle file {name}", "`carboy list` shows what there is", "no_such_name"
    )


def _print_fields(view: BottleView) -> None:
    for key, value in view.model_dump(mode="json").items():
        if text := _words(key, value):
            line(f"{key + ':':14} {text}")


def _words(name: str, value: Any) -> str:
    """A field's value as people read it; --json has it as it is."""
    if name == "command":
        return shlex.join(value)
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return ", ".join(f"{key} {text}" for key, one in fields.items() if one and (text := _words(key, one)))
    if isinstance(value, list):
        return "; ".join(_words(name, one) for one in cast("list[Any]", value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and (name in _MOMENTS or name.endswith("_at")):
        return date_and_time(value)
    return "" if value is None else str(value)


def print_provenance(provenance: tuple[Provenance, ...], *, defaults: bool = True) -> None:
    """`supervise: true (from base)`, one line each; without `defaults`, only what somebody set."""
    import orjson

    shown = [item for item in provenance if defaults or item.source != "default"]
    for item in shown:
        value = item.value if isinstance(item.value, str) else orjson.dumps(item.value).decode()
        line(f"{item.path}: {value} (from {item.source})")
    if len(shown) < len(provenance):
        line(f"and {len(provenance) - len(shown)} defaults, which --json shows")


def _act_command(
    name: str, past: str, text: str, act: Callable[["Client", str], Awaitable[BottleView]]
) -> click.Command:
    @click.command(name, help=text)
    @click.argument("slugs", type=SLUG, nargs=-1, required=True)
    @json_option
    def command(slugs: tuple[str, ...], as_json: bool) -> int:
        return each(slugs, past, act, as_json=as_json)

    return command


def each(
    slugs: tuple[str, ...], past: str, act: Callable[["Client", str], Awaitable[BottleView]], *, as_json: bool
) -> int:
    """Do it to each; the exit code. One that cannot be acted on is told of, and the others have their turn."""
    views: list[BottleView] = []
    code = 0

    async def work(client: "Client") -> None:
        nonlocal code
        for slug in dict.fromkeys(slugs):
            try:
                views.append(await act(client, slug))
            except CarboyError as error:
                named = error.message if slug in error.message else f"{slug}: {error.message}"
                say_error(CarboyError(named, error.hint, error.code))
                code = max(code, error.exit_code)
            else:
                if not as_json:
                    line(f"{slug}: {past}")

    with_client(work)
    if as_json and (views or len(slugs) > 1):
        print_json(views if len(slugs) > 1 else views[0])
    return code


@click.command()
@click.argument("slugs", type=SLUG, nargs=-1, required=True)
@click.option("--save", is_flag=True, help="Take a snapshot as well, and stop them: `carboy resume` goes on.")
@json_option
def freeze(slugs: tuple[str, ...], save: bool, as_json: bool) -> int:
    """Pause agents where they are; with --save their state is kept beyond a restart of the machine."""
    if save:
        past = "saved and stopped; carboy resume goes on"
        return each(slugs, past, lambda c, slug: c.put_by(slug), as_json=as_json)
    return each(slugs, "frozen", lambda c, slug: c.freeze(slug), as_json=as_json)


stop = _act_command("stop", "stopped", "Ask agents to end, and end those that do not.", lambda c, slug: c.stop(slug))
kill = _act_command("kill", "killed", "End agents at once.", lambda c, slug: c.kill(slug))
thaw = _act_command("thaw", "running", "Let frozen agents go on.", lambda c, slug: c.thaw(slug))
