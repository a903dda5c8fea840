"""`limits.disk` with a real bottle: what it writes is seen, one that is full is paused, the operator lets it go on."""

import asyncio

import pytest

from app.controller.audit import Audit
from app.controller.events import Bus
from app.controller.notices import Notices
from app.controller.outlets import Outlets
from app.controller.quotas import Quotas, limit_of
from app.core import quota
from app.core.schema import Settings
from app.paths import Paths
from tests.conftest import until
from tests.integration.launching import Rig, rig

pytestmark = [pytest.mark.sandbox, pytest.mark.timeout(120)]
MIB = 1024**2


async def settings() -> Settings:
    return Settings()


async def audited(audit: Audit) -> list[str]:
    return [row.action for row in await audit.rows()]


async def full(bottles: Rig) -> None:
    await until(lambda: bottles.sessions.named("one").view.state == "frozen", 60)


@pytest.mark.parametrize(
    "write",
    ["head -c 25000000 /dev/urandom > ~/big", "exec 9> ~/big; rm ~/big; head -c 25000000 /dev/urandom >&9"],
    ids=["a file", "a file without a name"],
)
async def test_a_full_bottle_is_paused_and_thawing_gives_it_more(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    monkeypatch.setattr(quota, "_CLOSE", 0.2)
    async with rig(paths) as bottles:
        (paths.bottles / "small.md").write_text(
            "---\nagent_provider: {template: shell}\nlimits: {disk: 20MiB}\n---\nFor tests.\n"
        )
        bus = Bus(bottles.store)
        await bus.start()
        audit = Audit(paths, bottles.store)
        await audit.start()
        notices = Notices(bottles.store, bus, Outlets(settings))
        quotas = Quotas(bottles.sessions, bottles.sessions.keeping.on_disk, audit, notices, first=0.2)
        try:
            script = f"{write}; sync; while :; do sleep 0.1; done"
            view = await bottles.launch(script, bottles=("small",))
            session = bottles.sessions.named("one")
            heard = session.on_change

            def changed(now) -> None:  # type: ignore[no-untyped-def]
                heard(now)
                quotas.changed(now)

            session.on_change = changed
            quotas.changed(view)
            await full(bottles)
            assert (session.view.disk or 0) >= 19 * MIB
            assert "disk-full" in await audited(audit)
            await until(lambda: session.record.disk_full >= 19 * MIB)
            await bottles.sessions.thaw("one")
            await until(lambda: session.record.disk_full == 0)
            assert limit_of(session) > 25 * MIB
            await asyncio.sleep(1.0)  # several looks
            assert session.view.state == "running"
            told = [notice.title for notice in await notices.listed()]
            assert any("is paused" in title for title in told)
            assert "disk-raised" in await audited(audit)
        finally:
            await quotas.close()
            await notices.close()
            await audit.close()
