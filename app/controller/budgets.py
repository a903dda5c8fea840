"""Keeps budgets: what is used comes from the store, what may be used goes to the sidecars as leases, and what runs out
fires its bottle's policy. One round at a time looks at everything that is live; whatever changes asks for another.

Sidecars enforce by themselves and fail closed. Used and handed out together never exceed a budget when something is
handed out, so all bottles together pass one by no more than what was in flight.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import ValidationError

from app.controller import budget_faces, rates
from app.controller.audit import Audit
from app.controller.crossings import Crossings, Desk, policy_of
from app.controller.events import Bus
from app.controller.ingest import Counts
from app.controller.leases import Account, Ground, Key, Share, Terms, keys_of
from app.controller.metering import Report, cost_of_lost
from app.controller.session import Session
from app.controller.windows import Windows
from app.core import budget
from app.core.budget import LEASE, Layer, Limit, Spent, Standing
from app.core.model import LIVE, BottleView, StreamEvent, Sum
from app.core.schema import Amount, Settings
from app.core.scopes import GLOBAL, launch_scope, session_of
from app.core.usage import UsageRow, spent, total
from app.errors import CarboyError
from app.store.base import Store
from app.store.metering import Counted, Override, SumQuery
from app.tasks import cancel_and_wait, spawn
from sidecar.allowance import Allowance, Cutoff, LeaseNote
from sidecar.allowance import Standing as Held

log = logging.getLogger(__name__)

ROUND_SECONDS = 15.0
"""Between rounds without news while a budget governs something: leases are renewed and idle ones taken back, periods
end, asks run out."""
GAP_SECONDS = 0.05
RETRY_SECONDS = 1.0

type Read = Callable[[], Awaitable[Settings]]
type Settle = Callable[[str], Awaitable[object]]
type Limits = dict[str, dict[str, tuple[Limit, ...]]]
"""What governs each provider of each session."""


class Budgets:
    """`start` once, `close` at the end."""

    def __init__(self, store: Store, bus: Bus, audit: Audit, desk: Desk, read: Read, settle: Settle) -> None:
        self._store = store
        self._bus = bus
        self._desk = desk
        self._read = read
        self._settle = settle
        self.crossings = Crossings(store, bus, audit, desk)
        self.windows = Windows(store)
        self.settings = Settings()
        self.overrides: dict[tuple[str, str], Override] = {}
        self.today = Sum()
        self._accounts: dict[str, Account] = {}
        self._starting: set[str] = set()
        self._states: dict[str, str] = {}
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._used: set[str] = set()
        self._news = asyncio.Event()
        self._order = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._deadline: float | None = None
        self.traced: Callable[[str, str, list[UsageRow]], None] = lambda *_: None

    async def load(self) -> None:
        """Before any session is found again: its sidecar may ask at once."""
        self.settings = await self._read()
        self.overrides = {(item.scope, item.provider): item for item in await self._store.overrides()}
        await self.windows.start()

    def start(self) -> None:
        """Every session has been found again."""
        self._used |= {session.id for session in self._desk.live()}
        self._task = spawn(self._run(), name="budgets")
        self._news.set()

    async def close(self) -> None:
        await cancel_and_wait(self._task, *self._sending.values())

    # --- what others tell -------------------------------------------------------------------------------------------

    def counts(self, session_id: str) -> Counts:
        """Where a session's usage counts."""
        session = self._desk.session(session_id)
        if session is None:
            return Counts((launch_scope(session_id), GLOBAL))
        named = tuple(entry.scope for entry in session.record.manifest.budget_scopes)
        return Counts((launch_scope(session_id), *named, GLOBAL), session.view.created_at)

    def used(self, session_id: str, report: Report, counted: tuple[Counted, ...]) -> None:
        """Usage was brought into the store."""
        now = asyncio.get_running_loop().time()
        account, session = self._accounts.get(session_id), self._desk.session(session_id)
        for lease, amount in report.charged.items() if account is not None else ():
            assert account is not None
            account.charge(lease, amount, now)
        if session is not None:
            self.windows.used(session.slug, counted)
            self.windows.seen(report.gauges)
            if report.rows:
                session.show(save=False, fault=report.rows[-1].fault[:600])
        self._used.add(session_id)
        self._news.set()

    def lease(self, session_id: str, body: dict[str, Any]) -> None:
        """A sidecar runs low: a less trusted part's word, and only a wish."""
        try:
            note = LeaseNote.model_validate(body)
        except ValidationError:
            log.debug("a sidecar's wish for more could not be read")  # which may send a million of them
            return
        account = self._accounts.get(session_id)
        if account is not None and account.asked(note, asyncio.get_running_loop().time()):
            self._news.set()

    def sidecar_up(self, session_id: str) -> None:
        """A sidecar answers: a new one, or one that was found again."""
        if session_id in self._starting:
            self._starting.discard(session_id)
            self._news.set()
        elif session_id not in self._accounts:
            spawn(self._found_again(session_id), name=f"budgets of {session_id}")

    def bottle(self, view: BottleView) -> None:
        """A bottle changed: one that came or went changes what the others share."""
        if self._states.get(view.session_id) != view.state:
            self._states[view.session_id] = view.state
            self._news.set()
            if view.state not in LIVE:
                del self._states[view.session_id]

    def changed(self) -> None:
        """Files, an override, a policy or a cutoff may be others now."""
        self._news.set()

    async def reload(self) -> None:
        self.settings = await self._read()
        self._news.set()

    async def apply(self, session_id: str | None = None) -> None:
        """Look at everything now, and wait until the sidecars (that one's, if it is named) were told."""
        await self._told(session_id)  # what is under way may not know yet what has changed
        async with self._order:
            await self._round()
        await self._told(session_id)

    async def _told(self, session_id: str | None) -> None:
        tasks = [task for identity, task in self._sending.items() if session_id in (None, identity)]
        await asyncio.gather(*map(asyncio.shield, tasks), return_exceptions=True)

    def heard(self, session_id: str) -> bool:
        """Whether its sidecar took what it was told last."""
        return session_id not in self._accounts or not self._accounts[session_id].deaf

    async def used_of(self, held: Limit, now: float, session: Session | None = None) -> int:
        """What counts against a budget now; `session`: whose launch it would be, where that is not known here yet."""
        return budget.used(await self._spent(keys_of([held], now)[0], session), held.unit)

    async def set_override(self, override: Override) -> None:
        """The operator's own amount, which the store has by now, comes into force."""
        self.overrides[override.scope, override.provider] = override
        await self._tell_again(override.scope, override.provider, override.amount)
        await self.apply()

    async def drop_override(self, scope: str, provider: str) -> None:
        self.overrides.pop((scope, provider), None)
        await self.apply()

    async def _tell_again(self, scope: str, provider: str, amount: Amount) -> None:
        """Thresholds above what is used of the new amount are told of when they are reached again."""
        now = time.time()
        period = "never" if session_of(scope) else self.settings.budget_period
        held = budget.limit(Layer(scope, {}, period), provider, amount)
        used = await self.used_of(held, now)
        await self.crossings.raised(keys_of([held], now)[0], Standing(held, used).percent)

    # --- sidecars come and go ---------------------------------------------------------------------------------------

    async def allow(self, session: Session) -> Allowance:
        """What a new sidecar may let through from its first moment. What the one before it used is counted first."""
        await self._settle(session.id)
        await self._lost(session)
        self._starting.add(session.id)
        # what is still being tried was for the sidecar that is gone
        await cancel_and_wait(self._sending.pop(session.id, None))
        account = self._accounts[session.id] = Account(known=True)
        async with self._order:
            await self._round()
            assert account.sent is not None
            return account.sent

    async def _found_again(self, session_id: str) -> None:
        """A former controller's sidecar: what it wrote is counted, then it gets new leases in place of its old ones."""
        await self._settle(session_id)
        self._accounts.setdefault(session_id, Account())
        self._news.set()

    async def ended(self, session: Session) -> None:
        """A session is over and all that its sidecar wrote is in the store."""
        await self._lost(session)
        async with self._order:  # it may live on for a moment: no round may show again what it asked
            session.counted = True
            self._accounts.pop(session.id, None)
            session.show(save=False, spend=await self._spend(session.id), cut="", asks=())
        self._news.set()

    async def _lost(self, session: Session) -> None:
        """Its sidecar is gone: what was announced and can never be reported any more becomes estimated rows."""
        lost = await self._store.intents(session.id)
        if not lost:
            return
        prices = await asyncio.to_thread(lambda: [cost_of_lost(item) for item in lost])
        ids = [item.request_id for item in lost]
        scopes = self.counts(session.id).scopes
        counted = await self._store.settle_intents(session.id, session.slug, scopes, ids, prices)
        await asyncio.to_thread(self.traced, session.slug, session.id, [item.row for item in counted])
        log.warning("%d answers for %s were lost with its sidecar, and estimated", len(counted), session.slug)
        self._used.add(session.id)

    # --- rounds -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            wait = None if self._deadline is None else max(0.0, self._deadline - time.time())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()
            self._news.clear()
            try:
                async with self._order:
                    await self._round()
            except Exception:
                log.exception("budgets could not be looked at; trying again")
                self._news.set()
                await asyncio.sleep(RETRY_SECONDS)
            await asyncio.sleep(GAP_SECONDS)

    def chain(self, session: Session, now: float) -> tuple[Layer, ...]:
        """The scopes of a session with what is set for them now."""
        record = session.record
        found = budget.layers(
            session.id, record.budget, record.manifest, self.settings.budget, self.settings.budget_period
        )
        amounts = self.amounts(now)
        for former in map(launch_scope, reversed(record.earlier)):  # what was set for it then holds on
            mine = {provider: amount for (scope, provider), amount in amounts.items() if scope == former}
            amounts = {(found[0].scope, provider): amount for provider, amount in mine.items()} | amounts
        return budget.overlaid(found, amounts)

    def layers(self, now: float) -> list[Layer]:
        """Every scope below the host that something is set for: of live sessions, and set by hand."""
        found = [layer for session in self._desk.live() for layer in self.chain(session, now) if layer.scope != GLOBAL]
        by_hand: dict[str, dict[str, Amount]] = {}
        for (scope, provider), amount in self.amounts(now).items():
            by_hand.setdefault(scope, {})[provider] = amount
        period = self.settings.budget_period
        rest = [Layer(scope, given, period) for scope, given in by_hand.items() if session_of(scope) is None]
        return [*found, *rest]

    def amounts(self, now: float) -> dict[tuple[str, str], Amount]:
        """The operator's own amounts that are in force."""
        return {key: item.amount for key, item in self.overrides.items() if item.until is None or now < item.until}

    def limits(self, session: Session, now: float) -> dict[str, tuple[Limit, ...]]:
        """What governs each provider that this bottle can reach; empty where nothing does."""
        chain = self.chain(session, now)
        providers = dict.fromkeys(entry.provider for entry in session.record.policy.metered)
        return {name: budget.governing(chain, name) for name in providers}

    async def _round(self) -> None:
        now = time.time()
        sessions = [
            session
            for session in self._desk.live()
            if not session.counted and (session.view.state != "launching" or session.id in self._accounts)
        ]
        live = {session.id for session in sessions}
        for gone in set(self._accounts) - live - self._starting:
            del self._accounts[gone]
        limits = {session.id: self.limits(session, now) for session in sessions}
        if any(one.unit == "usd" for groups in limits.values() for held in groups.values() for one in held):
            await asyncio.to_thread(rates.load)
        ground = await self._ground(sessions, limits, now)
        for session in sessions:
            await self._one(session, limits[session.id], ground)
        self._reclaim(ground)
        for session in sessions:
            self._tell(session, limits[session.id], ground)
        await self._show(sessions, limits, ground)
        self._deadline = self._next(sessions, limits, now)

    async def _ground(self, sessions: list[Session], limits: Limits, now: float) -> Ground:
        out: dict[Key, int] = {}
        sharing: dict[Key, int] = {}
        units: dict[Key, Limit] = {}
        for session in sessions:
            account = self._accounts.get(session.id)
            for held in (one for group in limits[session.id].values() for one in group):
                key = keys_of([held], now)[0]
                units[key] = held
                sharing[key] = sharing.get(key, 0) + 1
                share = account.shares.get(key) if account is not None else None
                # found again and not answered yet: it may still hold a former controller's lease
                known = (account is not None and account.known) or session.view.sidecar.state == "failed"
                guess = 0 if known else LEASE[held.unit]
                out[key] = out.get(key, 0) + max(guess, share.out if share is not None else 0)
        # asked after what is out was added up: what is charged meanwhile counts twice for a moment, never not at all
        used = {key: await self._spent(key) for key in units}
        waiting = {key for account in self._accounts.values() for key, share in account.shares.items() if share.waiting}
        return Ground(now, used, out, sharing, waiting)

    async def _spent(self, key: Key, session: Session | None = None) -> Spent:
        scope, provider, since = key
        identity = session_of(scope)
        session = (session or self._desk.session(identity)) if identity is not None else None
        also = tuple(map(launch_scope, session.record.earlier)) if session is not None else ()
        query = SumQuery(scope=scope, also=also, provider=provider, since=since, by_provider=False)
        found = await self._store.sums(query)
        return spent(item.sum for item in found)

    async def _one(self, session: Session, limits: dict[str, tuple[Limit, ...]], ground: Ground) -> None:
        """One session: thresholds, crossings, and its shares."""
        account, tick = self._accounts.get(session.id), asyncio.get_running_loop().time()
        wanted: list[Key] = []
        for provider, held in limits.items():
            standings = [ground.standing(one) for one in held]
            for key, standing in zip(keys_of(held, ground.now), standings, strict=True):
                await self.crossings.thresholds(session, key, standing, self.settings.budget_thresholds)
                wanted.append(key)
                if account is not None:
                    share = account.share(standing.limit, key[2], tick)
                    self._hand_out(share, key, standing, ground, tick)
            if standings:
                await self.crossings.look(session, provider, standings, self._patience(session))
        if account is not None:
            account.keep_only(wanted)

    def _hand_out(self, share: Share, key: Key, standing: Standing, ground: Ground, tick: float) -> None:
        if standing.exhausted or standing.limit.value < standing.used + standing.out:
            share.take_back()
            share.wants = max(1, share.wants)
        elif share.wants and (share.waiting or key not in ground.waiting):
            before = share.out
            amount = budget.piece(standing, ground.sharing[key], share.wants)
            if amount:
                share.give(amount)
                ground.out[key] += share.out - before
            elif share.waiting:
                ground.hungry.add(key)
        elif not share.wants and share.idle(tick):
            share.take_back()

    def _reclaim(self, ground: Ground) -> None:
        """Where one wants and nothing is left, the others give back what they do not use."""
        for key in ground.hungry:
            for account in self._accounts.values():
                share = account.shares.get(key)
                if share is not None and not share.waiting:
                    share.take_back()

    def _patience(self, session: Session) -> float:
        wait = session.record.manifest.bottle.unattended.max_wait
        return float(wait if wait is not None else self.settings.approval_timeout_seconds)

    # --- telling sidecars -------------------------------------------------------------------------------------------

    def _terms(self, session: Session, limits: dict[str, tuple[Limit, ...]], ground: Ground) -> Terms:
        bottle, ordered = session.record.manifest.bottle, session.record.cutoff
        spent: dict[str, str] = {}
        for provider, held in limits.items():
            standings = [ground.standing(one) for one in held]
            known = session.record.crossings.get(provider)
            result = budget.outcome(standings, policy_of(session), answered=known is not None and known.answered)
            if result != "open":
                spent[provider] = "ask" if result == "ask" else "cutoff"
        money = sorted({one.provider for held in limits.values() for one in held if one.unit == "usd"})
        return Terms(
            spent=spent,
            free=tuple(name for name, held in limits.items() if not held),
            cutoff=None if ordered is None else Cutoff(
                reason=ordered.reason[:300], scope=ordered.scope, providers=ordered.providers,
                end_streams=ordered.end_streams,
            ),
            whole=bottle.cutoff_scope == "all",
            preflight=bool(bottle.budget_preflight),
            count=bottle.budget_preflight == "provider",
            rates={name: rates.of(name, session.record.policy.metered) for name in money},
            name=session.slug,
        )  # fmt: skip

    def _tell(self, session: Session, limits: dict[str, tuple[Limit, ...]], ground: Ground) -> None:
        account, tick = self._accounts.get(session.id), asyncio.get_running_loop().time()
        if account is None or session.id in self._sending:
            return  # what is under way asks for another round when it is done
        terms = self._terms(session, limits, ground)
        allowance = account.allowance(terms)
        if not account.due(allowance, tick):
            return
        account.version += 1
        account.sent = account.allowance(terms)
        account.sent_at = tick
        if session.id not in self._starting:
            self._sending[session.id] = spawn(
                self._send(session, account, account.sent), name=f"allowance {session.slug}"
            )

    async def _send(self, session: Session, account: Account, allowance: Allowance) -> None:
        try:
            answer = await self._sent(session, allowance)
            if answer.version > allowance.version:
                # a former controller's clock was ahead of ours, and an older version changes nothing
                account.version = answer.version + 1
                account.sent = allowance.model_copy(update={"version": account.version})
                answer = await self._sent(session, account.sent)
            account.answered(answer)
            account.known, account.deaf = True, False
        except (CarboyError, ValidationError) as error:
            # down: its successor asks; anything else: it keeps what it has until that runs out, and is told again
            log.warning("the sidecar of %s could not be told its allowance: %s", session.slug, error)
            account.sent, account.deaf = None, True
            await asyncio.sleep(RETRY_SECONDS)
        finally:
            self._sending.pop(session.id, None)
            self._news.set()

    async def _sent(self, session: Session, allowance: Allowance) -> Held:
        assert session.supervisor is not None
        return Held.model_validate(
            await session.supervisor.call("allowance", {"allowance": allowance.model_dump(mode="json")})
        )

    # --- showing ----------------------------------------------------------------------------------------------------

    async def _show(self, sessions: list[Session], limits: Limits, ground: Ground) -> None:
        used, self._used = self._used, set()
        by_hand = self.amounts(ground.now)
        for session in sessions:
            standings = {
                provider: [ground.standing(one) for one in held] for provider, held in limits[session.id].items()
            }
            changes = budget_faces.changes(session, standings, by_hand, ground.now, self._patience(session))
            if session.id in used:
                changes["spend"] = await self._spend(session.id)
            session.show(save=False, **changes)
        if used or self.windows.news:
            await self._tell_totals(ground.now)

    async def _spend(self, session_id: str) -> Sum:
        found = await self._store.sums(SumQuery(scope=launch_scope(session_id), by_provider=False))
        return total(item.sum for item in found)

    async def _tell_totals(self, now: float) -> None:
        found = await self._store.sums(SumQuery(scope=GLOBAL, since=budget.period_start("day", now), by_provider=False))
        self.today = total(item.sum for item in found)
        await self.windows.save()
        self._bus.pass_on(StreamEvent(seq=0, at=now, kind="usage", data=self.totals()))

    def totals(self) -> dict[str, Any]:
        """What headers show: used today on this host, and the providers' windows."""
        windows = [item.model_dump(mode="json") for item in self.windows.current(time.time())]
        return {"today": self.today.model_dump(mode="json"), "windows": windows}

    def _next(self, sessions: list[Session], limits: Limits, now: float) -> float | None:
        governed = [one for groups in limits.values() for held in groups.values() for one in held]
        times = [now + ROUND_SECONDS] if governed else []
        for session in sessions:
            for crossing in session.record.crossings.values():
                if crossing.policy == "ask" and not crossing.answered:
                    times.append(crossing.at + self._patience(session) + 0.01)
        times += [end + 0.01 for one in governed if (end := budget.period_end(one.period, now)) is not None]
        return min(times, default=None)
