"""Choosing among alternatives, and where the credential goes."""

from app.providers.base import Credential, pick, with_auth
from sidecar.contract import HeaderScheme, Route

KEY = Credential("KEY", "API_KEY", "api.example.com", "x-api-key")
TOKEN = Credential("TOKEN", "AUTH_TOKEN", "api.example.com", "authorization", scheme="Bearer")
OTHER = Credential("OTHER", "OTHER", "other.example.com", "api-key", required=False)


def test_the_first_that_exists_wins() -> None:
    assert pick((KEY, TOKEN), {"KEY", "TOKEN"}).chosen == (KEY,)
    assert pick((KEY, TOKEN), {"TOKEN"}).chosen == (TOKEN,)


def test_none_that_exists_is_one_need_with_all_its_names() -> None:
    picked = pick((KEY, TOKEN, OTHER), set())
    assert picked.chosen == ()
    assert picked.missing == (("KEY", "TOKEN"),)


def test_hosts_are_apart() -> None:
    assert pick((KEY, OTHER), {"KEY", "OTHER"}).chosen == (KEY, OTHER)


def test_auth_goes_to_the_route_of_its_host_alone() -> None:
    routes = (Route(host="api.example.com"), Route(host="cdn.example.com"))
    first, second = with_auth(routes, (KEY,))
    assert first.auth is not None
    assert first.auth.scheme == HeaderScheme(header="x-api-key")
    assert first.auth.token_ref == "KEY"
    assert second.auth is None
    bearer = with_auth(routes, (TOKEN,))[0].auth
    assert bearer is not None
    assert (bearer.scheme, bearer.header) == ("Bearer", "authorization")
