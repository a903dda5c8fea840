import time

import pytest

from app.core.credentials import credential_kind

# put together here, so that no scanner takes this file for a leak
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP0123456789"


@pytest.mark.parametrize(
    "value",
    [
        "sk-" + "ant-api03-" + LETTERS,
        "sk-" + LETTERS[:30],
        "sk-" + "proj-" + LETTERS,
        "gh" + "p_" + LETTERS[:36],
        "github" + "_pat_" + LETTERS[:40],
        "glpat" + "-" + LETTERS[:20],
        "AKIA" + "ABCDEFGHIJKLMNOP",
        "AIza" + LETTERS[:35],
        "xox" + "b-1234567890-abcdef",
        "npm" + "_" + LETTERS[:36],
        "pypi" + "-" + LETTERS[:40],
        "hf" + "_" + LETTERS[:34],
        "-----BEGIN OPENSSH " + "PRIVATE KEY-----\nAAAA",
        "-----BEGIN " + "PRIVATE KEY-----",
        "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0." + LETTERS[:30],
        "postgres://user:" + "hunter22@db.example.com/x",
        "prefix=" + "gh" + "o_" + LETTERS[:36],
    ],
)
def test_found(value: str) -> None:
    kind = credential_kind(value)
    assert kind
    assert value[:12] not in kind


@pytest.mark.parametrize(
    "value",
    ["", "production", "${TOKEN}", "<your-key>", "sk-xxxx", "https://example.com/path", "a" * 64, "/usr/bin:/bin",
     "task-force-one-two", "https://user@example.com/", "AKIA", "hf_short", "-----BEGIN CERTIFICATE-----"],
)  # fmt: skip
def test_not_found(value: str) -> None:
    assert credential_kind(value) is None


@pytest.mark.parametrize("value", ["a" * 10**6, "a://" * 10**5, "eyJ" * 10**5, "sk-" * 10**5, "x://y:" * 50000])
def test_time_is_bounded(value: str) -> None:
    started = time.thread_time()
    credential_kind(value)
    assert time.thread_time() - started < 2
