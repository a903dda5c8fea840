"""New secrets, twice at once: what is not looked for yet is not used."""

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sidecar.egress import scanner
from sidecar.egress.proxy import Proxy
from sidecar.egress.scanner import Scanner
from sidecar.secret import Secret
from sidecar.tasks import spawn
from tests.conftest import until


async def test_of_two_sets_of_secrets_the_earlier_is_not_used_before_it_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled = scanner._compiled

    def slow(*sets: Any) -> Any:
        if any(known.name == "LATER" for known in sets[0]):
            time.sleep(0.3)
        return compiled(*sets)

    monkeypatch.setattr(scanner, "_compiled", slow)
    one = Scanner((), None)
    own = cast(Any, SimpleNamespace(scanner=one, state=SimpleNamespace(secrets={})))
    earlier = spawn(Proxy.set_secrets(own, {"EARLIER": Secret("an-earlier-credential-0123")}), name="earlier")
    later = spawn(Proxy.set_secrets(own, {"LATER": Secret("a-later-credential-0123456")}), name="later")
    await until(earlier.done)
    assert not later.done()
    assert (own.state.secrets, one.ready) == ({}, False)
    await later
    assert (list(own.state.secrets), one.ready) == (["LATER"], True)
    one.close()
