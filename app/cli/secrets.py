"""`carboy secret` and `carboy give`: values on their way to the controller. They are never arguments and never printed:
they come from a hidden prompt, stdin, a descriptor or the environment, and are kept by the keyring alone."""

import getpass
import os
import sys
from typing import TYPE_CHECKING

import click

from app.cli.asking import typed
from app.cli.output import SLUG, ago, connected, json_option, line, note, print_json, run, table, with_client
from app.core.model import BottleView
from app.core.vault import go_on
from app.errors import CarboyError
from app.processes.private import keep_to_itself
from sidecar.secret import Secret

if TYPE_CHECKING:
    from app.client import Client

MAX_BYTES = 64 * 1024
"""Of a secret: a key file in PEM has some 3 kB."""


@click.group()
def secret() -> None:
    """Secrets in the system keyring: names and times are listed, values never."""


@secret.command("set")
@click.argument("name")
@click.option("--fd", type=int, help="Read the value from this descriptor.")
@json_option
def set_(name: str, fd: int | None, as_json: bool) -> None:
    """Put a secret into the system keyring. The value is asked for without echo, or read from stdin where that is no
    terminal, or from --fd; one newline at its end is left out."""
    if fd is None and sys.stdin.isatty():
        _can_be_kept()
    value = Secret(_given(name, fd))
    view = with_client(lambda client: client.set_secret(name, value))
    if as_json:
        print_json(view)
    else:
        line(f"{name} is in {view.keyring}")
    if more := go_on(view.keep, name):
        note(more)


@secret.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the secrets that carboy put into the keyring."""
    view = with_client(lambda client: client.vault())
    if as_json:
        print_json(view)
        return
    rows = [(item.name, ago(item.set_at), ago(item.used_at) or "never") for item in view.secrets]
    print(table(rows, ("NAME", "SET", "USED")) if rows else "no secrets")
    if view.hint:
        note(view.hint)


@secret.command("rm")
@click.argument("name")
@json_option
def rm(name: str, as_json: bool) -> None:
    """Remove a secret from the keyring. Running bottles keep what they have."""
    view = with_client(lambda client: client.remove_secret(name))
    print_json(view) if as_json else line(f"{name} is removed")


def _can_be_kept() -> None:
    """Nobody is made to type a value that goes nowhere."""
    view = with_client(lambda client: client.vault())
    if not view.keyring:
        message, _, hint = view.hint.partition(". ")
        raise CarboyError(message, hint, "no_keyring")


def _given(name: str, fd: int | None) -> str:
    """A value that was handed over for being kept."""
    keep_to_itself()
    if fd is not None or not sys.stdin.isatty():
        value = from_descriptor(sys.stdin.fileno() if fd is None else fd)
    else:
        value = getpass.getpass(f"{name}: ", stream=sys.stderr)
    if not value:
        raise CarboyError(f"The value for {name} is empty", "", "secret_missing")
    return value


@click.command()
@click.argument("slug", type=SLUG)
@click.argument("names", nargs=-1)
@click.option("--fd", type=int, help="Read the value of the one NAME from this descriptor.")
@json_option
def give(slug: str, names: tuple[str, ...], fd: int | None, as_json: bool) -> None:
    """Give a running bottle secrets that its sidecar lacks: those of NAMES, or all. Values come from environment
    variables of the same names, else they are asked for without echo."""
    if fd is not None and len(names) != 1:
        raise click.UsageError("--fd goes with exactly one NAME")
    view = run(_give(slug, names, fd))
    if as_json:
        print_json(view)
    elif view.missing_secrets:
        line(f"{slug} still lacks {', '.join(view.missing_secrets)}")
    else:
        line(f"{slug} has all its secrets")


async def _give(slug: str, names: tuple[str, ...], fd: int | None) -> BottleView:
    async with connected() as client:
        wanted = names or await _lacking(client, slug)
        if not wanted:
            note(f"{slug} lacks no secret")
            return await client.bottle(slug)
        return await client.give_secrets(slug, {name: await _value(name, fd) for name in wanted})


async def _lacking(client: "Client", slug: str) -> tuple[str, ...]:
    return (await client.bottle(slug)).missing_secrets


async def _value(name: str, fd: int | None) -> Secret:
    keep_to_itself()
    if fd is not None:
        value = from_descriptor(fd)
    elif os.environ.get(name):
        value = os.environ[name]
    elif sys.stdin.isatty():
        value = await typed(f"{name}: ", hidden=True)
    else:
        raise CarboyError(
            f"There is no value for {name}", f"Set the environment variable {name}, or use --fd", "secret_missing"
        )
    if not value:
        raise CarboyError(f"The value for {name} is empty", "", "secret_missing")
    return Secret(value)


def from_descriptor(fd: int) -> str:
    """All of it, but one newline at its end: that is how `echo` and files give it."""
    try:
        with open(fd, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError("too long")
        return data.decode().removesuffix("\n")
    except (OSError, ValueError) as error:
        raise CarboyError(
            f"Descriptor {fd} gives no secret ({type(error).__name__})",
            "Open it for reading: 3< FILE",
            "secret_missing",
        ) from None
