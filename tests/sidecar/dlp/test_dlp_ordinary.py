"""Identifiers, forms' tokens and made-up values of tests, as projects are full of them: no credentials, though the word
of one is beside them. And what looks like them and is one."""

import pytest

from sidecar.dlp.engine import Engine
from tests.sidecar.dlp.dlp_kit import engine_for, scan

ID = "9b74c9897bac770ffc029102a200c5de5be0a1f4"
UUID = "dd7b3447-d1d3-4803-8549-4f77a94ae144"
RANDOM = "BsofU7B9zEZPrG12DbPI175blvVZFI2s"


@pytest.fixture(scope="module")
def engine() -> Engine:
    return engine_for(())


@pytest.mark.parametrize(
    "text",
    [
        f'"private_key_id": "{ID}"',
        f"signing_key_id = '{ID}'",
        f"ENCRYPTION_KEY_ID={ID}",
        f'"credentialsId": "{UUID}"',
        f"<UserSecretsId>{UUID}</UserSecretsId>",
        f"csrfmiddlewaretoken={RANDOM}&username=me",
        f'{{"csrf_token": "{RANDOM}"}}',
        f"X-CSRF-Token: {RANDOM}",
        f"authenticity_token={RANDOM}",
        f"__RequestVerificationToken={RANDOM}",
        f'<input type="hidden" name="csrfmiddlewaretoken" value="{RANDOM}">',
        f'<input type=\\"hidden\\" name=\\"authenticity_token\\" value=\\"{RANDOM}\\">',
        f'{{"clientToken": "pub{ID[:32]}", "site": "datadoghq.com"}}',
    ],
)
def test_identifiers_and_forms_tokens_are_left_alone(engine: Engine, text: str) -> None:
    assert scan(engine, f"line\n{text}\nline".encode()).clean


@pytest.mark.parametrize(
    "value",
    [
        "test-api-key-123",
        "test_api_key_12345",
        "testApiKey1",
        "sk-test-123456",
        "test-token-abc123",
        "fake_access_token_abc123",
        "invalid_token_123",
        "example-key-01",
        "dummy.token.v2",
        "foo-bar-baz-12",
        "token-1234",
        "key-12345",
        "refresh-token-456",
    ],
)
@pytest.mark.parametrize("form", ['Client(api_key="{}")', '{{"access_token": "{}"}}', "SECRET_TOKEN={}\n"])
def test_values_that_say_that_they_are_made_up_are_left_alone(engine: Engine, value: str, form: str) -> None:
    assert scan(engine, f"line\n{form.format(value)}\nline".encode()).clean


@pytest.mark.parametrize(
    "text",
    [
        f'"private_key": "{ID}"',
        f'"secret_id": "{UUID}"',
        f'"clientToken": "{ID[:32]}"',
        f'<input name="password" value="{RANDOM}">',
        f'<input name="csrf_password" value="{RANDOM}">',
        f'CSRF_TOKEN_SECRET="{RANDOM}"',
        f"XSRF_TOKEN_SIGNING_KEY={RANDOM}",
        f'"authenticityTokenSecret": "{RANDOM}"',
        f'<input name="csrf" value="a"><input name="password" value="{RANDOM}">',
        f'api_key = "test_{RANDOM}"',
        'api_key = "test-8f3a9c2b41"',
        'api_key = "test-kV9x2mQ7tLp4"',
        'password = "tests4Kings2Wander9"',
        'password = "Testament-Orchid-2291"',
        'password = "Test-Orchid-2291"',
        'password = "Summer2024Winterly"',
        "PASSWORD=Tr0ub4dor-test-Zx81-Qm",
        'token = "token-kV9x2mQ7"',
        'token = "key-1357908642"',
    ],
)
def test_what_looks_like_them_is_found(engine: Engine, text: str) -> None:
    assert scan(engine, f"line\n{text}\nline".encode()).blocked


@pytest.mark.parametrize(
    "number",
    ["DE89 3704 0044 0532 0130 00", "DE89370400440532013000", "GB82WEST12345698765432", "NL91 ABNA 0417 1643 00"],
)
def test_account_numbers_of_documentation_are_examples(engine: Engine, number: str) -> None:
    (found,) = scan(engine, f"iban: {number} end".encode()).findings
    assert found.kind == "iban"
    assert found.example
