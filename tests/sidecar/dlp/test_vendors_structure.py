"""The checksums and structures that vendors define: right ones pass, a changed character does not, nothing raises."""

import base64
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.dlp import shape
from sidecar.dlp.engine import Engine, EngineConfig
from sidecar.dlp.finding import Location
from sidecar.dlp.patterns.model import CredentialType, all_types
from sidecar.dlp.patterns.vendors import structure
from sidecar.dlp.patterns.vendors.define import sample
from sidecar.dlp.searches import shapes

BY_NAME = {each.id: each for each in all_types()}
CHECKSUMMED = (
    "github-personal-token",
    "github-oauth-token",
    "github-user-token",
    "github-installation-token",
    "npm-token",
    "grafana-service-account",
    "matrix-access-token",
    "age-secret-key",
)
STRUCTURED = (
    *CHECKSUMMED,
    "pypi-token",
    "jwt",
    "discord-bot-token",
    "mapbox-secret-token",
    "cloudflare-tunnel-token",
    "sentry-org-token",
    "onepassword-service-token",
    "npm-basic-auth",
    "docker-config-auth",
    "pem-in-base64",
    "elastic-api-key",
    "intercom-token",
    "grafana-api-key",
)


def value_of(each: CredentialType) -> str:
    match = re.search(each.regex, each.positives[0])
    assert match
    return match.group()


@pytest.mark.parametrize("name", CHECKSUMMED)
def test_a_changed_character_breaks_the_checksum(name: str) -> None:
    each = BY_NAME[name]
    assert each.check
    value = value_of(each)
    assert each.check(value)
    place = len(value) - 12
    for other in "QPZR":
        if other != value[place]:
            assert not each.check(value[:place] + other + value[place + 1 :])


def test_the_checksum_of_a_known_text() -> None:
    """The worked example of base62 and CRC-32 that Python's zlib and RFC 1952 agree on: 0xCBF43926 for "123456789"."""
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    value = 0
    for digit in structure.base62_crc32(b"123456789"):
        value = value * 62 + digits.index(digit)
    assert value == 0xCBF43926
    assert structure.base62_crc32(b"") == "000000"


def test_bech32_of_the_age_specification() -> None:
    """The identity that age's own documentation prints, and the identical one in the other case."""
    text = BY_NAME["age-secret-key"].positives[0].split("\n")[1]
    assert structure.bech32(text)
    assert structure.bech32(text.lower())
    assert not structure.bech32(text[:-1] + "Q")
    assert not structure.bech32(text[:20] + text[20:].lower())


def test_github_and_npm_refuse_a_random_tail() -> None:
    hits = sum(structure.crc_suffix_of_body(sample(f"ghp_<b62:36>{'<>' * i}")) for i in range(200))
    assert hits == 0


@pytest.mark.parametrize("name", ["github-personal-token", "npm-token"])
def test_a_letter_beside_it_hides_no_token_with_a_checksum(name: str) -> None:
    value = value_of(BY_NAME[name])
    found = Engine.compile(EngineConfig()).scan(f"a zq{value}Zz9 b".encode(), where=Location("body")).findings
    assert [(finding.kind, finding.value and finding.value.reveal()) for finding in found] == [(name, value.encode())]


@pytest.mark.parametrize(
    "password",
    ["password", "P4ssw0rd!", "changeme", "your_password", "${DB_PASS}", "<password>", "%s", "xxxxxxxx", "1234"],
)
def test_placeholders_are_no_passwords(password: str) -> None:
    assert not structure.plausible_password(password)
    assert not structure.url_with_password(f"postgres://app:{password}@db.example.org/app")


@pytest.mark.parametrize(
    "password", ["tR0ub4dor&3", "correct-horse-battery", "pa$Xw9{k", "A1B2C3D4E5", sample("<b62:20>")]
)
def test_passwords_are_passwords(password: str) -> None:
    assert structure.plausible_password(password)
    assert structure.url_with_password(f"postgres://app:{password}@db.example.org/app")


def test_words_behind_a_real_value_do_not_hide_it() -> None:
    """Whoever prompts an agent may have it add what a placeholder would have."""
    for name in ("openai-api-key", "gitlab-access-token", "anthropic-api-key"):
        each = BY_NAME[name]
        assert each.check
        assert each.check(value_of(each) + "-your-api-key-here")


def test_mixed_takes_random_runs_and_leaves_names() -> None:
    missed = sum(not structure.mixed(sample(f"<b62:24>{'<>' * i}")) for i in range(500))
    assert missed <= 5
    for name in ("getUserInformationFromServer", "lowercaseonlywords", "ALLUPPERCASE", "0123456789"):
        assert not structure.mixed(name)


def test_a_base64_login_needs_a_password_in_it() -> None:
    for login, verdict in (("deploy:kX9mQ2vLpR7t", True), ("user:password", False), ("nocolon", False), (":", False)):
        assert structure.basic_credentials(base64.b64encode(login.encode()).decode()) is verdict


@pytest.mark.parametrize("name", STRUCTURED)
@given(junk=st.text(max_size=80), where=st.integers(0, 400))
def test_no_check_raises_on_a_broken_value(name: str, junk: str, where: int) -> None:
    """The engine hands over only what the expression matched; a check must survive everything of that length."""
    each = BY_NAME[name]
    assert each.check
    value = value_of(each)
    at = where % len(value)
    each.check(value[:at] + "".join(char for char in junk if 32 < ord(char) < 127) + value[at:])
    each.check(value[:at])
    each.check(value[: at + 1] + "=" * 3)


def test_a_rule_reports_a_place_once_whatever_may_follow() -> None:
    """Long names of the TypeScript compiler's messages hold `rt_`: its source was refused for 80 places in each."""
    assert [rule.kind for rule in shapes().rules if shape.trimmed(rule.spec.source) != rule.spec.source] == []
    for source, least in (
        (r"rt_[a-z]{4,9}(?:\.[a-z]{4,9})?", "rt_[a-z]{4}"),
        (r"a(?:b|(?:c)(?:d)?){2,3}(?:\.(?:e|f{2}))?", "a(?:b|(?:c)(?:d)?){2}"),
        (r"a\)?", r"a\)?"),
        (r"a\(?:b)?", r"a\(?:b)?"),
        (r"ab_[a-z]{60,90}-[a-z]{9}=?", r"ab_[a-z]{60}"),
        (r"ab_[a-z]{6,9}-[a-z]{60}", r"ab_[a-z]{6,9}-[a-z]{60}"),
    ):
        assert shape.trimmed(source) == least
    names = b" ".join(
        b"Convert_this_type_of_%d_into_the_one_that_is_given_by_its_name_in_another_place" % n for n in range(900)
    )
    assert Engine.compile(EngineConfig()).scan(names, where=Location("body")).clean


PULL = [{"type": "repository", "name": "library/alpine", "actions": ["pull"]}]


@pytest.mark.parametrize(
    ("claims", "found"),
    [
        ({"sub": "", "access": PULL, "aud": "registry.example.com"}, False),
        ({"sub": "(anonymous)", "access": PULL * 2}, False),
        ({"access": PULL}, False),
        ({"access": PULL, "auth_type": None}, False),
        ({"access": PULL, "auth_type": "deploy_token"}, True),
        ({"sub": "somebody", "access": PULL}, True),
        ({"sub": "", "access": [{**PULL[0], "actions": ["pull", "push"]}]}, True),
        ({"sub": "", "access": [*PULL, "more"]}, True),
        ({"sub": "", "access": []}, True),
        ({"sub": ""}, True),
    ],
)
def test_what_a_registry_gives_anybody_is_no_credential(claims: dict[str, object], found: bool) -> None:
    head, body = (base64.urlsafe_b64encode(json.dumps(each).encode()) for each in ({"alg": "RS256"}, claims))
    token = b".".join((head.rstrip(b"="), body.rstrip(b"="), b"c2lnbmF0dXJl" * 8))
    scan = Engine.compile(EngineConfig()).scan(b"authorization: Bearer " + token, where=Location("flow"))
    assert scan.blocked == found


def test_the_words_that_an_expression_begins_with_are_written_out() -> None:
    for source, every in (
        ("ab[cd]_[a-z]{40}", "abc_[a-z]{40}|abd_[a-z]{40}"),
        ("(?:live|test)_x{3,5}y", "live_x{3,5}y|test_x{3,5}y"),
        ("ab[cd]?_[a-z]{40}", "ab[cd]?_[a-z]{40}"),
        ("ab[a-d]_[a-z]{40}", "ab[a-d]_[a-z]{40}"),
        ("[ab]c[0-9]{40}", "[ab]c[0-9]{40}"),
        ("[abcdefghi]_x", "[abcdefghi]_x"),
        (r"ab[cd]\|(?:e|f)", r"abc\|(?:e|f)|abd\|(?:e|f)"),
    ):
        assert shape.spelled(source) == every


SPELLED = [
    rule.spec.source
    for rule in shapes().rules
    if not rule.spec.caseless and shape.spelled(rule.spec.source) != rule.spec.source
]


@given(st.data())
def test_written_out_it_is_the_same_expression(data: st.DataObject) -> None:
    assert len(SPELLED) > 60
    source = data.draw(st.sampled_from(SPELLED))
    before, after = (re.compile(each, re.DOTALL) for each in (source, shape.spelled(source)))
    assert after.search(data.draw(st.from_regex(before)))
    assert before.search(data.draw(st.from_regex(after)))
