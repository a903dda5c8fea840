"""The five agents under test, each with the vendor it talks to, its key, and the names it gives to what all of them
have: a tool that runs a command, and the tools that ask for access."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from app.demo.pretend import anthropic, gemini, openai
from app.demo.pretend.script import Call, Conversation, Say, Script, Turn
from tests.e2e.world import REAL_KEY, Agent

REFUSED = "refused.example"
"""A host that no route names: the agents' commands try it."""
LOOK_AROUND = (
    "echo hello > hello.txt; env > env.txt; "
    f"curl -sS -o /dev/null -w '%{{http_code}}' https://{REFUSED}/ > curl.txt 2>&1; true"
)
"""What an agent is made to run: it writes the file, shows what the agent could read, and tries the other host."""
DONE = "All done: the file is there."
CHOICE = {"complexity_reasoning": "It is one command.", "complexity_score": 10}
"""What Gemini CLI asks a small model before the first turn: how hard the task is."""


@dataclass(frozen=True)
class Role:
    """One agent: `run` makes the call of a command, `tool` is how it names one of carboy's tools."""

    name: str
    agent: Agent
    variable: str
    key: str
    run: Callable[[str, frozenset[str]], Call]
    tool: Callable[[str, dict[str, object], frozenset[str]], Call]

    @property
    def secrets(self) -> dict[str, str]:
        return {self.variable: self.key}

    @property
    def host(self) -> str:
        return self.agent.hosts[0]

    def aside(self, talk: Conversation) -> Turn | None:
        """The answer to what it asks beside its work, without tools; None where this is its work."""
        if talk.tools:
            return None
        return Turn((Say(json.dumps(CHOICE) if self.name == "gemini" else "A title"),))

    def runs(self, command: str = LOOK_AROUND, end: str = DONE) -> Callable[[str], Script]:
        """Runs one command, then says that it is done."""

        def script(talk: Conversation) -> Turn:
            aside = self.aside(talk)
            if aside is not None:
                return aside
            if talk.step:
                return Turn((Say(end),))
            return Turn((Say("I will."), self.run(command, talk.tools)))

        return lambda folder: script

    def on(self, *hosts: str) -> Agent:
        """The same agent in a world where other hosts are pretended, too."""
        return Agent(self.agent.packages, self.agent.provider, (*self.agent.hosts, *hosts))


def _bash(name: str) -> Callable[[str, frozenset[str]], Call]:
    return lambda command, tools: Call(name, {"command": command, "description": "Run it"})


def _prefixed(prefix: str) -> Callable[[str, dict[str, object], frozenset[str]], Call]:
    return lambda tool, arguments, tools: Call(f"{prefix}{tool}", dict(arguments))


def _codex_run(command: str, tools: frozenset[str]) -> Call:
    """By a program of its own where the model orchestrates tools so, else by the tool itself."""
    if "exec" not in tools:
        return Call("exec_command", {"cmd": command, "yield_time_ms": 60_000})
    # a command that runs on after its time is asked about again
    program = (
        f"let r = await tools.exec_command({{cmd: {json.dumps(command)}, yield_time_ms: 60000}}); "
        "while (r.session_id) "
        "r = await tools.write_stdin({session_id: r.session_id, chars: '', yield_time_ms: 30000}); text(r)"
    )
    return Call("exec", {"input": program})


def _codex_tool(tool: str, arguments: dict[str, object], tools: frozenset[str]) -> Call:
    name = f"mcp__carboy__{tool.replace('-', '_')}"
    if "exec" not in tools:
        return Call(name, dict(arguments))
    # `exec` yields after a while by itself; this one waits for the operator
    return Call("exec", {"input": f"text(await tools.{name}({json.dumps(arguments)}))"})


CAST = {
    role.name: role
    for role in (
        Role(
            "claude",
            Agent(("claude-code",), "template: claude", (anthropic.HOST,)),
            "ANTHROPIC_API_KEY",
            REAL_KEY,
            _bash("Bash"),
            _prefixed("mcp__carboy__"),
        ),
        Role(
            "codex",
            Agent(("codex",), "template: codex", (openai.HOST,)),
            "OPENAI_API_KEY",
            "sk-proj-REALOPENAI-5c1d9e3f7a2b4c6d8e0f1a2b3c4d5e6f",
            _codex_run,
            _codex_tool,
        ),
        Role(
            "gemini",
            Agent(("gemini",), "template: gemini", (gemini.HOST,)),
            "GEMINI_API_KEY",
            "AIzaREALGOOGLE-4f1b7d0a9c2e4e6f8a1b3c5d7e9f0a2b",
            _bash("run_shell_command"),
            _prefixed("mcp_carboy_"),
        ),
        Role(
            "opencode",
            Agent(("opencode",), "template: opencode", (anthropic.HOST,)),
            "ANTHROPIC_API_KEY",
            REAL_KEY,
            _bash("bash"),
            _prefixed("carboy_"),
        ),
        Role(
            "pi",
            Agent(("pi", "node"), "template: pi", (anthropic.HOST,)),
            "ANTHROPIC_API_KEY",
            REAL_KEY,
            _bash("bash"),
            _prefixed(""),
        ),
    )
}
