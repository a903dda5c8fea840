"""Agent and bottle files: what is accepted, and for each fault its file, line, key, words and hint."""

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.core.manifest import parse_agent, parse_bottle
from app.core.schema import Bottle, EnvPrompt, EnvSecret
from app.errors import ConfigError


def bottle(frontmatter: str) -> Bottle:
    return parse_bottle(f"---\n{frontmatter}\n---\nnotes\n".encode(), "x", "x.md").bottle


def outcome(parse: Callable[[bytes, str, str], object], data: bytes) -> ConfigError | None:
    try:
        parse(data, "x", "x.md")
    except ConfigError as error:
        return error
    return None


def fault(data: str | bytes, *, agent: bool = False) -> ConfigError:
    raw = data.encode() if isinstance(data, str) else data
    with pytest.raises(ConfigError) as caught:
        parse_agent(raw, "x", "x.md") if agent else parse_bottle(raw, "x", "x.md")
    assert caught.value.file == "x.md"
    assert caught.value.hint
    return caught.value


def test_a_whole_bottle() -> None:
    found = bottle("""
extends: [base, net]
env: {PLAIN: text, PORT: 8080, HOST: "${HOME}", TOKEN: {secret: GITHUB_TOKEN}, ASK: {prompt: "Key?"}}
agent_provider: {template: claude, auth_token: KEY, settings: {startup_args: [-v], model: opus, thinking: high}}
egress:
  log: 2
  routes:
    - host: API.GitHub.com.
      ports: [443]
      auth: {scheme: {header: X-Api-Key}, token_ref: GITHUB_TOKEN}
      matches: [{paths: [{value: /repos}], methods: [get]}]
      dlp: {outbound_detectors: false, outbound_on_match: redact}
git-gate: {user: {name: A B, email: a@b.c}, repos: {app: {url: "git@example.com:a/b.git", key: {provider: static}}}}
supervise: false
sensitive_env: [TOKEN, AWS_*]
unattended: {hold: park, max_wait: 2h, on_exit: {resume: 3}}
budget: {claude: 5000000, codex: 500k, pi: {usd: 20, hard: true}, gemini: $3}
shutdown: freeze
isolation: vm
limits: {memory: 4GiB, cpus: 1.5, wall_clock: 90m}
workspace: copy
masks: [secrets/, {path: ./a//b, mode: allow}]
""")
    assert found.extends == ("base", "net")
    assert found.env["PORT"] == "8080"
    assert found.env["TOKEN"] == EnvSecret(secret="GITHUB_TOKEN")
    assert found.env["ASK"] == EnvPrompt(prompt="Key?")
    assert found.egress.routes[0].host == "api.github.com"
    assert found.egress.routes[0].matches[0].methods == ("GET",)
    assert found.agent_provider.settings.model_extra == {"thinking": "high"}
    assert found.unattended.max_wait == 7200
    assert found.budget["codex"].tokens == 500_000
    assert found.budget["gemini"].usd == 3
    assert found.limits.memory == 4 * 2**30
    assert found.limits.wall_clock == 5400
    assert [(mask.path, mask.mode) for mask in found.masks] == [("secrets", "hide"), ("a/b", "allow")]


def test_memory_in_which_nothing_starts_is_a_fault() -> None:
    found = fault("---\nlimits: {memory: 1KiB}\n---\n")
    assert (found.key, found.line) == ("limits.memory", 2)
    assert "16MiB at least" in found.message


def test_unset_differs_from_default() -> None:
    assert "supervise" not in bottle("workspace: mount").model_fields_set
    assert "workspace" in bottle("workspace: mount").model_fields_set


def test_an_agent_with_the_keys_of_a_subagent_file() -> None:
    text = (
        "---\nname: helper\ndescription: x\nmodel: opus\ncolor: red\nmemory: user\ntools: Read, Grep\n---\nBe kind.\n"
    )
    found = parse_agent(text.encode(), "helper", "helper.md")
    assert found.prompt == "Be kind."
    assert parse_agent(b"Only a prompt", "x", "x.md").prompt == "Only a prompt"
    assert parse_agent(b"\xef\xbb\xbf---\r\nbottle: dev\r\n---\r\nHi\r\n", "x", "x.md").agent.bottle == "dev"


ROUTE = "---\negress:\n  routes:\n    - host: a.example.com\n    - host: b.example.com\n      "
AT_ROUTE = "egress.routes[1] (b.example.com)"

FAULTS = [
    # text, line, key, words of the message, words of the hint
    ("---\nfoo: 1\n---", 2, "foo", "unknown key 'foo'", "extends, env, agent_provider"),
    ("---\nsupervice: true\n---", 2, "supervice", "unknown key", "Did you mean supervise?"),
    ("---\ngit_gate: {}\n---", 2, "git_gate", "unknown key", "git-gate"),
    ("---\nenv:\n  A: {secrte: x}\n---", 3, "env.A.secrte", "unknown key", "secret, prompt"),
    ("---\nenv: {A: {}}\n---", 2, "env.A", "secret is missing", "Add it"),
    ("---\nenv: {A: true}\n---", 2, "env.A", "not true or false", "quotes"),
    ("---\nenv: {A: }\n---", 2, "env.A", "not empty", "quotes"),
    ("---\nenv: {A: [b]}\n---", 2, "env.A", "not a list", "quotes"),
    ("---\nenv: {A-B: x}\n---", 2, "env.A-B", "characters", "letters, digits"),
    ('---\nenv: {A: "a${B}"}\n---', 2, "env.A", "whole value", "${NAME}"),
    ('---\nenv: {A: "x\\0y"}\n---', 2, "env.A", "NUL", "Remove"),
    ("---\nenv:\n  A: ghp_" + "a1" * 18 + "\n---", 3, "env.A", "looks like a GitHub token", "{secret: A}"),
    ("---\nenv: {A: {secret: 'no spaces'}}\n---", 2, "env.A.secret", "characters", "never the secret itself"),
    ("---\nsupervise: yes\n---", 2, "supervise", "true or false", "Write true or false"),
    ("---\nsupervise: 1\n---", 2, "supervise", "not a number", "true or false"),
    ("---\nextends: {a: b}\n---", 2, "extends", "not a mapping", "one name, or a list"),
    ("---\nextends: 3\n---", 2, "extends", "not a number", "one name"),
    ("---\nextends: [a, 3]\n---", 2, "extends", "entry 2 of extends is not a name but a number", "one name"),
    ("---\nextends: [a, ../b]\n---", 2, "extends[1]", "characters", "one name"),
    ("---\nextends: 'a\\nb'\n---", 2, "extends", "characters", "one name"),
    ("---\negress: {log: 3}\n---", 2, "egress.log", "must be 0, 1 or 2", "redacted"),
    ("---\negress: {log: true}\n---", 2, "egress.log", "whole number", "redacted"),
    ("---\negress: {routes: {host: a}}\n---", 2, "egress.routes", "a list is expected", "as a list"),
    ("---\negress: {routes: [{ports: [1]}]}\n---", 2, "egress.routes[0]", "host is missing", "Add"),
    (ROUTE + "role: admin\n---", 6, f"{AT_ROUTE}.role", "reserved", "Remove"),
    (ROUTE + "role:\n---", 6, f"{AT_ROUTE}.role", "reserved", "Remove"),
    (ROUTE + "matchs: []\n---", 6, f"{AT_ROUTE}.matchs", "unknown key", "Did you mean matches?"),
    (ROUTE + "ports: [0]\n---", 6, f"{AT_ROUTE}.ports[0]", "greater than", "65535"),
    (ROUTE + "ports: ['443']\n---", 6, f"{AT_ROUTE}.ports[0]", "not text", "without quotes"),
    (ROUTE + "auth: {scheme: foo, token_ref: A}\n---", 6, f"{AT_ROUTE}.auth.scheme", "Bearer", "one of these"),
    (ROUTE + "auth: {scheme: {heder: x}, token_ref: A}\n---", 6, f"{AT_ROUTE}.auth.scheme.heder", "unknown", "header"),
    (ROUTE + "auth: {scheme: Bearer}\n---", 6, f"{AT_ROUTE}.auth", "token_ref is missing", "Add"),
    (ROUTE + "matches: [{paths: [{type: regex, value: '('}]}]\n---", 6, f"{AT_ROUTE}.matches[0].paths[0]",
     "not a regular expression", "regex"),
    (ROUTE + "matches: [{paths: [{value: x}]}]\n---", 6, f"{AT_ROUTE}.matches[0].paths[0]", "starts with /", "prefix"),
    (ROUTE + "matches: [{methods: ['G T']}]\n---", 6, f"{AT_ROUTE}.matches[0].methods", "HTTP method", "GET"),
    (ROUTE + "dlp: {outbound_detectors: [x]}\n---", 6, f"{AT_ROUTE}.dlp.outbound_detectors[0]", "known_secrets",
     "one"),
    ("---\negress:\n  routes:\n    - host: '*'\n---", 4, "egress.routes[0] (*).host", "bare *", "full host name"),
    ("---\negress: {routes: [{host: 'a.*.com'}]}\n---", 2, "egress.routes[0] (a.*.com).host", "*.example.com", "full"),
    ("---\negress: {routes: [{host: 'http://a.com/'}]}\n---", 2, "egress.routes[0] (http://a.com/).host",
     "URL", "full"),
    ("---\negress: {routes: [{host: 'a.com:8080'}]}\n---", 2, "egress.routes[0] (a.com:8080).host", "port", "full"),
    ("---\negress:\n  routes:\n   - host: a.com\n   - host: A.com\n---", 5, "egress.routes[1] (A.com)",
     "has a route already (line 4)", "Join"),
    ('---\ngit-gate: {user: {name: "a\\nb"}}\n---', 2, "git-gate.user.name", "line break", "one line"),
    ('---\ngit-gate: {user: {email: "a\\tb"}}\n---', 2, "git-gate.user.email", "control", "one line"),
    ("---\ngit-gate: {repos: {a: {url: --upload-pack=x}}}\n---", 2, "git-gate.repos.a.url", "option", "one line"),
    ("---\ngit-gate: {repos: {../a: {}}}\n---", 2, "git-gate.repos.../a", "characters", "line"),
    ("---\nunattended: {on_exit: stop}\n---", 2, "unattended.on_exit", "keep", "{resume: 3}"),
    ("---\nunattended: {on_exit: {resume: 0}}\n---", 2, "unattended.on_exit", "keep", "{resume: 3}"),
    ("---\nbudget: {claude: {}}\n---", 2, "budget.claude", "one of the two", "500k"),
    ("---\nbudget: {claude: {usd: 1, tokens: 1}}\n---", 2, "budget.claude", "one of the two", "500k"),
    ("---\nbudget: {claude: lots}\n---", 2, "budget.claude", "not a number of tokens", "500k"),
    ("---\nbudget: {claude: 0}\n---", 2, "budget.claude", "greater than 0", "500k"),
    ("---\nbudget: {claude: true}\n---", 2, "budget.claude", "mapping", "key: value"),
    ("---\nlimits: {memory: lots}\n---", 2, "limits.memory", "not a size", "4GiB"),
    ("---\nlimits: {pids: 1.5}\n---", 2, "limits.pids", "whole number", "without quotes"),
    ("---\nlimits: {wall_clock: -1}\n---", 2, "limits.wall_clock", "greater than 0", "90m"),
    ("---\nlimits: {memory: true}\n---", 2, "limits.memory", "not true or false", "number"),
    ("---\nworkspace: here\n---", 2, "workspace", "'mount', 'read-only', 'copy' or 'none'", "one of these"),
    ("---\nisolation: none\n---", 2, "isolation", "'process', 'container' or 'vm'", "one of these"),
    ("---\nmasks: [../x]\n---", 2, "masks[0]", "below the project", "project-relative"),
    ("---\nmasks: [/etc]\n---", 2, "masks[0]", "below the project", "project-relative"),
    ("---\nmasks: ['.']\n---", 2, "masks[0]", "below the project", "project-relative"),
    ("---\nagent_provider: claude\n---", 2, "agent_provider", "a mapping is expected here, not text", "key: value"),
    ("---\nsensitive_env: ['*']\n---", 2, "sensitive_env[0]", "characters", "every key"),
    ("---\na: 1\na: 2\n---", 3, "", "the key 'a' is there twice (first in line 2)", "Keep one"),
    ("---\nenv:\n\tA: b\n---", 3, "", "tab", "spaces"),
    ("---\na: b: c\n---", 2, "", "not valid YAML", "quotes"),
    ("---\n- a\n---", 2, "", "keys are expected", "key: value"),
    ("---\na: !!python/object/apply:os.system [x]\n---", 2, "", "tag", "Remove"),
    ("---\nsupervise: true\n", 1, "", "has no end", "---"),
    ("supervise: true\n", 1, "", "needs frontmatter", "---"),
    ("", 1, "", "needs frontmatter", "---"),
    (b"---\nsupervise: true\n---\na\0b", 4, "", "NUL", "Remove"),
    (b"---\nsupervise: \xff\n---\n", 2, "", "UTF-8", "UTF-8"),
    (b"---\n---\n" + b"x" * 10_000_000, 0, "", "larger than 1024 KiB", "Shorten"),
    (b"---\n#" + b"x" * 70_000 + b"\n---\n", 1, "", "larger than 64 KiB", "short"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "key", "message", "hint"), FAULTS)
def test_faults(text: str | bytes, line: int, key: str, message: str, hint: str) -> None:
    found = fault(text)
    assert (found.line, found.key) == (line, key)
    assert message in found.message
    assert hint in found.hint
    assert found.render().startswith("x.md")


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("---\ngit-gate: {repos: {a: {}}}\n---", "git-gate.repos", "may not name repositories"),
        ("---\negress: {}\n---", "egress", "unknown key 'egress'"),
        ("---\nworkspace: none\n---", "workspace", "unknown key"),
        ("---\nskills: [Not-Kebab]\n---", "skills[0]", "characters"),
        ("---\nskills: pdf\n---", "skills", "a list is expected"),
        ("---\nbottle: [a]\n---", "bottle", "text is expected here, not a list"),
        ("---\nbottle: ../x\n---", "bottle", "characters"),
    ],
)
def test_agent_faults(text: str, key: str, message: str) -> None:
    found = fault(text, agent=True)
    assert found.key == key
    assert message in found.message


def test_a_refused_value_is_never_repeated() -> None:
    secret = "sk-ant-api03-" + "Zq9" * 12
    for text in (f"env: {{A: {secret}}}", f"env: {{A: {{secret: '{secret} '}}}}", f"agent_provider: {secret}"):
        assert "Zq9" not in fault(f"---\n{text}\n---").render()


def test_wildcards_on_domains_of_many_owners() -> None:
    def shared(domain: str) -> str | None:
        return "a public suffix" if domain == "github.io" else None

    def routes(text: str) -> object:
        return parse_bottle(f"---\negress: {{routes: [{text}]}}\n---".encode(), "x", "x.md", shared)

    with pytest.raises(ConfigError) as caught:
        routes("{host: '*.github.io'}")
    assert "many owners" in caught.value.message
    assert caught.value.key == "egress.routes[0] (*.github.io).host"
    assert routes("{host: '*.github.io', shared: true}")
    assert routes("{host: 'me.github.io'}")
    assert routes("{host: '*.example.com'}")


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
@example(b"---\n\xed\xa0\x80\n---")
@example(b"---\n? {a: b}\n: c\n---")
def test_arbitrary_bytes_raise_nothing_but_config_errors(data: bytes) -> None:
    for raw in (data, b"---\n" + data + b"\n---\n"):
        for parse in (parse_bottle, parse_agent):
            error = outcome(parse, raw)
            assert error is None or (error.hint and error.file == "x.md")


KEYS = ["extends", "env", "egress", "routes", "host", "matches", "auth", "git-gate", "user", "repos", "limits",
        "budget", "masks", "agent_provider", "settings", "unattended", "on_exit", "resume", "dlp", "scheme",
        "header"]  # fmt: skip
SCALARS = st.sampled_from(["a", "1", "true", "~", "-5", "*.x.com", "'", "4GiB", "[", "1e5", "${A}", "0x", '"\\n"'])
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3).map(
            lambda found: "{" + ", ".join(f"{key}: {value}" for key, value in found.items()) + "}"
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=400)
@given(st.dictionaries(st.sampled_from(KEYS), TREES, max_size=4))
def test_near_misses_raise_nothing_but_config_errors(keys: dict[str, str]) -> None:
    text = "---\n" + "\n".join(f"{key}: {value}" for key, value in keys.items()) + "\n---\n"
    for parse in (parse_bottle, parse_agent):
        error = outcome(parse, text.encode())
        assert error is None or (error.hint and error.line > 0)
