"""Proposals and routes as clients see them: what would change, what speaks against it. Pure but for the public suffix
list, which is read once."""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.core.approvals import ManifestChange, ProposalView, RoutesView, TemporaryRoute
from app.core.proposal import ACCESS, needs_reason
from app.core.risks import risks
from app.core.routes import Grant, Routes, Wish, changed_hosts, widen, wish
from app.core.routetext import diff, write_routes
from app.core.text import pieces
from app.manifests.saving import Saving
from app.manifests.suffixes import shared_domain
from app.store.base import ProposalRow
from sidecar.contract import PathMatch, Route, routes_hash

MAX_LINES, WIDTH = 3000, 300
_ROUTES: TypeAdapter[Routes] = TypeAdapter(tuple[Route, ...])


def routes_in(payload: dict[str, Any], name: str) -> Routes | None:
    """A list of routes that the controller itself stored; None also for what another version wrote, and this one
    cannot read: one old row must not hide all others."""
    found = payload.get(name)
    try:
        return None if found is None else _ROUTES.validate_python(found)
    except ValidationError:
        return None


def wish_of(row: ProposalRow, present: Routes) -> Wish:
    """What a proposal asks of the present routes."""
    wanted = routes_in(row.payload, "routes")
    if wanted is None:
        return Wish((), ("its routes cannot be read by this version of carboy; reject it",), stale=True)
    return wish(wanted, routes_in(row.payload, "base"), present)


def seen(before: Routes, after: Routes) -> str:
    """Stands for one change: of exactly these routes to exactly those."""
    return f"{routes_hash(before)}-{routes_hash(after)}"


def shown(row: ProposalRow, present: Routes | None, *, full: bool = False) -> ProposalView:
    """A proposal's view; `present` are its bottle's routes while it lives."""
    if row.kind not in ACCESS:
        return _report(row, full=full)
    if row.state != "pending" or present is None:
        return _decided(row)
    asks = wish_of(row, present)
    after = widen(present, asks.asked)
    hosts = tuple(route.host for route in asks.asked)
    return _base(row).model_copy(
        update={
            "title": "nothing of it can be given" if asks.notes and not asks.asked else _title(asks.asked),
            "host": hosts[0] if len(hosts) == 1 else "",
            "hosts": hosts,
            "diff": diff(present, after),
            "risks": risks(present, after, shared_domain),
            "notes": asks.notes,
            "stale": asks.stale,
            "editable": True,
            "seen": seen(present, after),
            "routes": write_routes(after) if full else "",
        }
    )


def edited(row: ProposalRow, before: Routes, after: Routes, saving: Saving | None) -> ProposalView:
    """A pending proposal as an edit, or saving, would make it."""
    view = shown(row, before, full=True)
    if row.kind not in ACCESS:
        return view
    return view.model_copy(
        update={
            "diff": diff(before, after),
            "hosts": changed_hosts(before, after),
            "risks": risks(before, after, shared_domain),
            "seen": seen(before, after),
            "routes": write_routes(after),
            "manifest": None if saving is None else manifest(saving),
        }
    )


def manifest(saving: Saving) -> ManifestChange:
    return ManifestChange(file=str(saving.file), diff=saving.diff, used_by=saving.used_by)


def live(slug: str, version: int, routes: Routes, grants: tuple[Grant, ...]) -> RoutesView:
    """A bottle's routes in force, to read or edit."""
    temporary = tuple(
        TemporaryRoute(
            host=route.host,
            until=grant.until,
            single=grant.single,
            title=_title((route,)),
            proposal=grant.proposal_id,
        )
        for grant in grants
        for route in grant.asked
    )
    return RoutesView(
        slug=slug, version=version, text=write_routes(routes), seen=routes_hash(routes), temporary=temporary
    )


def _base(row: ProposalRow) -> ProposalView:
    return ProposalView(
        id=row.id,
        slug=row.slug,
        session_id=row.session_id,
        kind=row.kind,
        state=row.state,  # type: ignore[arg-type]
        created_at=row.created_at,
        expires_at=row.expires_at,
        justification=row.justification,
        asked=row.asked,
        error=row.error,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        reason=row.reason,
        scope=row.scope,
    )


def _decided(row: ProposalRow) -> ProposalView:
    outcome = row.outcome or {}
    wanted = routes_in(row.payload, "routes") or ()
    hosts = tuple(map(str, outcome.get("hosts") or ())) or tuple(
        route.host for route in wish(wanted, routes_in(row.payload, "base"), routes_in(row.payload, "base") or ()).asked
    )
    update: dict[str, Any] = {
        "title": ", ".join(hosts[:3]),
        "host": hosts[0] if len(hosts) == 1 else "",
        "hosts": hosts,
        "diff": tuple(map(str, outcome.get("diff") or ())),
        "notes": tuple(map(str, outcome.get("notes") or ())),
    }
    return _base(row).model_copy(update=update)


def _report(row: ProposalRow, *, full: bool) -> ProposalView:
    """What is to be reviewed stands as lines where one proposal is looked at; a list goes without."""
    report: dict[str, Any] = dict(row.payload.get("report") or {})
    text = str(report.pop("text", "") or "")
    host = str(report.get("host") or "")
    title = str(report.get("title") or report.get("detector") or row.kind)
    update: dict[str, Any] = {"title": title, "host": host, "hosts": (host,) if host else (), "report": report}
    # what the view says already
    report = {name: value for name, value in report.items() if value not in (title, row.kind)}
    update["report"] = report
    update["diff"] = _diff_lines(text) if text and full else ()
    return _base(row).model_copy(update=update | {"needs_reason": needs_reason(row.kind), "seen": row.id})


def _diff_lines(text: str) -> tuple[str, ...]:
    """A report as the lines of a diff, which have their sign in front; what a bottle wrote, made printable. A long line
    goes on in the next, behind a sign that no line of a diff has: nothing is out of sight."""
    lines: list[str] = []
    for line in text.split("\n"):
        plain = line.replace("\t", "    ")
        first, *more = pieces(plain if plain[:1] in ("+", "-", "@", " ", "\\") else f" {plain}", WIDTH)
        lines += [first, *(f"\\{piece}" for piece in more)]
    if len(lines) <= MAX_LINES:
        return tuple(lines)
    return (*lines[: MAX_LINES - 1], f" [{len(lines) - MAX_LINES + 1} more lines are too many to show]")


def _title(asked: Routes) -> str:
    """What is asked, in a few words: `GET api.example.com/v1/x`, `3 hosts`. Of several rules the widest is told, or one
    that asks for little would stand for one that asks for all."""
    if not asked:
        return "nothing that is not allowed already"
    if len(asked) > 1:
        return f"{len(asked)} hosts: {', '.join(route.host for route in asked[:3])}"
    route = next(iter(asked))
    git = "git fetch, " if route.git.fetch else ""
    if not route.matches:
        return f"{git}{route.host} (anything)"
    rules = [(match.methods, path) for match in route.matches for path in match.paths or (PathMatch(value="/"),)]
    methods, path = min(rules, key=lambda rule: _breadth(*rule))
    more = f" +{len(rules) - 1}" if len(rules) > 1 else ""
    return f"{git}{' '.join(methods) or 'any method'} {route.host}{path.value}{more}"


def _breadth(methods: tuple[str, ...], path: PathMatch) -> tuple[int, int, bool]:
    """In the order of how much is allowed: patterns, which may match anything, then prefixes, the shortest first."""
    return ("regex", "prefix", "exact").index(path.type), len(path.value.rstrip("/")), bool(methods)
