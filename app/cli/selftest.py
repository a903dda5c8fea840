"""The command `selftest`: attacks a bottle from inside and says what held."""

from typing import TYPE_CHECKING, Any

import click

from app.cli.output import SLUG, json_option, line, note, print_json, with_client
from app.errors import CarboyError

if TYPE_CHECKING:
    from app.selftest.findings import Finding

_WORDS = {"held": "held", "escaped": "DID NOT HOLD", "untestable": "could not test"}


@click.command()
@click.argument("slug", type=SLUG, required=False)
@click.option("--backend", default="auto", help="Of a fresh bottle: auto, local, docker …")
@click.option("--runtime", help="Of a fresh bottle in a container: the engine's runtime, as runsc.")
@click.option("--all", "every", is_flag=True, help="Show what held as well.")
@json_option
def selftest(slug: str | None, backend: str, runtime: str | None, every: bool, as_json: bool) -> int:
    """Attack a bottle from inside, and say what held: a running one, or a fresh one of a backend. Exit code 1 where
    anything got out."""
    found, about = _running(slug) if slug else _fresh(backend, runtime)
    if as_json:
        from dataclasses import asdict

        print_json({**about, "findings": [asdict(one) for one in found]})
    else:
        _print(found, about, every)
    return 1 if any(one.verdict == "escaped" for one in found) else 0


def _fresh(backend: str, runtime: str | None) -> tuple[list["Finding"], dict[str, Any]]:
    from app.paths import Paths
    from app.selftest import findings, fresh
    from app.settings import load_settings

    base = load_settings(Paths.resolve()).settings.image_base
    view, found = fresh.run(backend, base, note, runtime)
    about = {"backend": view.backend, "engine": view.engine, "isolation": view.isolation, "slug": None}
    return found, about | {"counts": findings.counts(found)}


def _running(slug: str) -> tuple[list["Finding"], dict[str, Any]]:
    import tempfile
    from pathlib import Path

    from app.selftest import findings, runner

    with tempfile.TemporaryDirectory(prefix="carboy-selftest-") as folder:
        base = Path(folder)
        base.chmod(0o755)
        (base / "victims").mkdir()
        runner.give(base / "victims")
        with runner.victims(base / "victims") as facts:
            view = with_client(lambda client: client.bottle(slug))
            more = {"project": view.cwd, "beside_project": base.name, "limits": {"memory": 0, "pids": 0}}
            more["repository"] = (Path(view.cwd) / ".git/HEAD").exists()
            answer = with_client(lambda client: client.selftest(slug, {**facts, **more, "facts": "facts.json"}))
    found = [findings.Finding(**one) for one in answer["findings"]]
    if not answer["ended"]:  # what was not tried has not held
        raise CarboyError(
            f"The probes in {slug} ended early, after {len(found)}: {answer['said']}", "They need a Python in it",
            "selftest",
        )  # fmt: skip
    about = {"backend": view.backend, "engine": view.engine, "isolation": view.isolation, "slug": slug}
    return found, about | {"counts": findings.counts(found)}


def _print(found: list["Finding"], about: dict[str, Any], every: bool) -> None:
    for one in found:
        if every or one.verdict != "held":
            line(f"{_WORDS[one.verdict]:14} {one.probe}{f': {one.detail}' if one.detail else ''}")
    counts = about["counts"]
    where = f"{about['backend']}{'/' + about['engine'] if about['engine'] else ''}"
    line(
        f"{where}: {counts['held']} held, {counts['escaped']} did not hold, {counts['untestable']} could not be tested"
    )
