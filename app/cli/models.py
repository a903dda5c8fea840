"""The command `models`: what an agent can be started with."""

import os

import click

from app.cli.output import ago, connected, json_option, line, note, print_json, run
from app.core.model import LaunchRequest, ModelList
from app.paths import present_folder
from sidecar.secret import Secret


@click.command()
@click.argument("agent", required=False)
@click.option("--bottle", "-b", "bottles", multiple=True, help="A bottle file, as for start.")
@click.option("--refresh", is_flag=True, help="Ask the vendor again; its list is kept for a day.")
@json_option
def models(agent: str | None, bottles: tuple[str, ...], refresh: bool, as_json: bool) -> None:
    """List the models that AGENT, or a bottle, can be started with (start --model).

    The vendor is asked with the key that the launch would use. Where it cannot be, names that are built in are shown.
    """
    request = LaunchRequest(agent=agent, bottles=bottles or None, cwd=present_folder())
    found = run(_list(request, refresh))
    if as_json:
        print_json(found)
        return
    for name in found.models:
        line(f"{name}{'  (this bottle uses it)' if name == found.chosen else ''}")
    source = {"vendor": "from the vendor", "cache": f"from the vendor, {ago(found.at)} ago", "built-in": "built in"}
    note(f"{found.title}, tried {found.tested or 'with any version'}: {source[found.source]}")
    if found.reason:
        note(f"the vendor was not asked: {found.reason}")


async def _list(request: LaunchRequest, refresh: bool) -> ModelList:
    async with connected() as client:
        found = await client.models(request, fresh=refresh)
        given = {name: Secret(os.environ[name]) for name in found.wants_env if os.environ.get(name)}
        if not given:
            return found
        return await client.models(request.model_copy(update={"env": given}), fresh=refresh)
