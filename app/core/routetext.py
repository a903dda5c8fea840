"""Routes as people read and edit them: YAML in a manifest's own keys, and the difference of two lists, line by line.
Pure. Text comes back through the same bounded parser and the same schema as a manifest."""

import io
from collections.abc import Iterable
from typing import Any, cast

from pydantic import BaseModel, ConfigDict
from ruamel.yaml import YAML

from app.core import differences
from app.core.faults import check
from app.core.frontmatter import parse_yaml
from app.core.routes import Routes, changed_hosts
from app.errors import ConfigError
from sidecar.contract import Route


class RoutesFile(BaseModel):
    """What an edited file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    routes: tuple[Route, ...] = ()


def plain(route: Route) -> dict[str, Any]:
    """A route in a manifest's keys, without what is default."""
    return route.model_dump(mode="json", exclude_defaults=True)


def write(value: Any) -> str:
    """A value as block-style YAML, in the order of its keys."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 4096
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.StringIO()
    yaml.dump(value, stream)
    return stream.getvalue()


def write_routes(routes: Iterable[Route]) -> str:
    """All routes as a file to edit."""
    return write({"routes": [plain(route) for route in routes]})


def read_routes(text: str, file: str = "the routes") -> Routes:
    """The routes in an edited file. Raises ConfigError with line and key."""
    document = parse_yaml(text, file)
    if set(cast("dict[str, Any]", document.value)) != {"routes"}:
        raise ConfigError("the file holds one key, `routes`", "Keep the line `routes:` and a list below it", file=file)
    routes = check(RoutesFile, document, file).routes
    seen: set[str] = set()
    for index, route in enumerate(routes):
        if route.host in seen:
            line = document.line(("routes", index))
            hint = "Join the two entries: `matches` and `ports` take lists"
            raise ConfigError(f"{route.host} has a route already", hint, file=file, line=line)
        seen.add(route.host)
    return routes


def diff(before: Routes, after: Routes) -> tuple[str, ...]:
    """Only the routes that differ, their lines marked `+`, `-` or with a blank."""
    lines: list[str] = []
    for host in changed_hosts(before, after):
        old = _lines(route for route in before if route.host == host)
        new = _lines(route for route in after if route.host == host)
        lines += differences.whole(old, new)
    return tuple(line.rstrip() for line in lines)


def _lines(routes: Iterable[Route]) -> list[str]:
    values = [plain(route) for route in routes]
    return write(values).splitlines() if values else []
