"""The doctor's own checks."""

from app.doctor import agent_checks


def test_it_says_where_an_agents_cli_lies_on_this_host() -> None:
    from app.providers.registry import provider

    found = provider("shell").find({})
    (check,) = [one for one in agent_checks() if one.name == "shell"]
    assert check.ok
    assert f"({found.host_path})" in check.text
    assert "  " not in check.text
