"""What is not acted on yet is told, with who asked for it; what is set by nobody is not."""

from app.core.pending import not_acted_on
from app.core.schema import Bottle, Egress, Manifest
from sidecar.contract import Route, RouteDlp


def test_silent_where_nothing_was_asked_for() -> None:
    assert not_acted_on(Manifest(provenance={"limits.memory": "base", "egress.routes[0]": "net"})) == ()


def test_each_key_is_named_with_its_source() -> None:
    manifest = Manifest(
        provenance={"budget.claude": "dev", "egress.log": "dev", "shutdown": "dev"},
        bottle=Bottle(egress=Egress(routes=(Route(host="b.example", dlp=RouteDlp(outbound_on_match="block")),))),
    )
    (warning,) = not_acted_on(manifest)
    asked = ("egress.log (from dev)",)
    for text in asked:
        assert text in warning
    assert "budget" not in warning
    assert "shutdown" not in warning
    assert "b.example" not in warning
