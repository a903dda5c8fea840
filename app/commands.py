"""Every command of the TUI, once: its key, its words, its place. Bindings, the footer, the help page and the palette
are all made from this table, so none of them can lie. Data only; what a command does is an action of its screen."""

from __future__ import annotations

from typing import Literal, NamedTuple

Scope = Literal["app", "main", "log"]
Group = Literal["Bottle", "Agent's terminal", "Egress", "View", "carboy"]


class Command(NamedTuple):
    """`action` is Textual's. `footer` orders the key bar, 0 keeps a command out of it; `short` is its word there.
    `needs` says where the key bar offers it: with any bottle selected, one that lives, or one that is over."""

    id: str
    key: str
    title: str
    help: str
    group: Group
    action: str
    scope: Scope = "main"
    short: str = ""
    footer: int = 0
    needs: Literal["", "bottle", "live", "over"] = ""


COMMANDS: tuple[Command, ...] = (
    Command("new", "n", "New bottle…", "Pick an agent and bottles, look, and start", "Bottle", "new", short="new",
            footer=2),
    Command("prompts", "P", "Ready tasks…", "A task from the prompt library, then the agent for it", "Bottle",
            "prompts"),
    Command("stop", "s", "Stop the bottle…", "Ask the agent to end, then release everything", "Bottle", "stop",
            short="stop", footer=5, needs="live"),
    Command("kill", "K", "Kill the bottle…", "End it at once", "Bottle", "kill", needs="live"),
    Command("freeze", "F", "Freeze or thaw", "Halt every process of the bottle, or let them go on", "Bottle", "freeze",
            needs="live"),
    Command("put-by", "Z", "Save and stop…", "Freeze it beyond a restart of the machine: a snapshot, then its end",
            "Bottle", "put_by", needs="live"),
    Command("info", "i", "About the bottle", "Its posture, its allowlist, where it runs", "Bottle", "info",
            short="info", footer=6, needs="bottle"),
    Command("restart-sidecar", "R", "Restart the sidecar", "A new proxy with the same policy; no network meanwhile",
            "Bottle", "restart_sidecar", needs="live"),
    Command("type", "enter", "Type to the agent", "Give the terminal the focus; every key is then the agent's",
            "Agent's terminal", "focus_terminal", short="type", footer=1, needs="live"),
    Command("attach", "t", "Terminal, full screen", "The agent's terminal alone on the screen", "Agent's terminal",
            "attach", short="full screen", footer=7, needs="live"),
    Command("history", "h", "Look back in the terminal", "Scroll what was printed; esc returns", "Agent's terminal",
            "history", needs="live"),
    Command("egress", "e", "Egress log, full screen", "All bottles or one, with filters and export", "Egress",
            "egress", short="egress", footer=4),
    Command("filter", "f", "Filter the egress log", "By decision, host:… or any text", "Egress", "filter",
            short="filter", footer=8),
    Command("pause", "space", "Follow or pause the egress log", "Paused, it stays where you look", "Egress", "pause",
            short="pause", footer=9),
    Command("report", "o", "Its report", "Outcome, spend, refusals, decisions, files", "Bottle", "report",
            short="report", footer=1, needs="over"),
    Command("learn", "L", "What it was refused…", "Refused hosts, as a bottle file that would allow them", "Bottle",
            "learn", needs="bottle"),
    Command("changes", "d", "What it changed…", "Its files against the project; pull them, or put the project back",
            "Bottle", "changes", needs="bottle"),
    Command("commit", "c", "Take a snapshot", "Home, copy of the project, image; the bottle runs on", "Bottle",
            "commit", needs="bottle"),
    Command("resume", "p", "Go on with it…", "Start a session that is over again, with its files and conversation",
            "Bottle", "resume", short="go on", footer=1, needs="over"),
    Command("fork", "v", "A second bottle from it…", "From its snapshot; of a running bottle one is taken first",
            "Bottle", "fork", needs="bottle"),
    Command("archive", "X", "Put it into the archive…", "Stopped with a snapshot; A shows the archive",
            "Bottle", "archive", needs="bottle"),
    Command("purge", "delete", "Remove it for good…", "Files, snapshot and transcript of a session that is over",
            "Bottle", "purge", needs="bottle"),
    Command("the-archive", "A", "The archive", "Sessions that were put aside: bring one back, or remove it for good",
            "View", "the_archive"),
    Command("budget", "b", "Its budget…", "Raise it, or say what a used up one does; answers what waits",
            "Bottle", "budget", short="budget", footer=4, needs="live"),
    Command("cutoff", "x", "Cut off, or give back", "Close the model's hosts of the bottle; the agent runs on",
            "Bottle", "cutoff", short="cut off", footer=5, needs="live"),
    Command("bottle-usage", "U", "Its usage", "Tokens and cost of the selected bottle", "Bottle", "usage",
            needs="bottle"),
    Command("usage", "u", "Usage", "Tokens and cost: today, by model, by bottle, over time", "View", "app.usage",
            "app"),
    Command("budgets", "B", "Budgets", "Every budget that is set, and how the bottles stand", "View", "app.budgets",
            "app"),
    Command("approvals", "a", "Approvals", "What waits for your decision", "Bottle", "approvals", short="approvals",
            footer=3),
    Command("allow", "y", "Allow what waits…",
            "The card under the cursor, or the oldest; from the terminal after the leader", "Bottle",
            "answer('allow')"),
    Command("reject", "r", "Reject what waits…", "The same, saying no", "Bottle", "answer('reject')"),
    Command("terminal-panel", "1", "Show the terminal", "Panel 1", "View", "panel('terminal')"),
    Command("egress-panel", "2", "Show the egress log", "Panel 2", "View", "panel('egress')"),
    Command("bottles-panel", "3", "Show the bottles", "Panel 3", "View", "panel('bottles')"),
    Command("side-panel", "4", "Show approvals and totals", "Panel 4", "View", "panel('side')"),
    Command("zoom", "z", "Zoom the panel", "The focused panel takes the window, or gives it back", "View", "zoom"),
    Command("theme", "T", "Change the theme…", "Dark, light or high contrast", "View", "app.themes", "app"),
    Command("doctor", "D", "Doctor", "What works here, what is missing, how to get it", "carboy", "app.doctor", "app"),
    Command("settings", "comma", "Settings", "Every setting, and where it came from", "carboy", "app.settings", "app"),
    Command("away", "W", "Since you left", "What each bottle did meanwhile", "carboy", "app.away", "app"),
    Command("search", "slash", "Search…", "What agents said and did, in live and past sessions", "View", "app.search",
            "app"),
    Command("notices", "N", "Notices", "The last hundred: approvals, canaries, budgets, ends", "carboy", "app.notices",
            "app"),
    Command("secrets", "S", "Secrets", "Names in the system keyring; set one, remove one", "carboy", "app.secrets",
            "app"),
    Command("set-up", "I", "Set up agents…", "Which agent CLIs are here; an agent and its key for each", "carboy",
            "app.set_up", "app"),
    Command("help", "question_mark", "Keys", "All keys", "carboy", "app.help", "app", short="keys", footer=20),
    Command("palette", "colon", "Commands", "Find a command or a bottle by name", "carboy", "app.palette", "app",
            short="commands", footer=19),
    Command("quit", "q", "Quit", "Close this window; bottles run on", "carboy", "app.leave", "app"),
)  # fmt: skip

_GLYPHS = {
    "comma": ",",
    "question_mark": "?",
    "colon": ":",
    "slash": "/",
    "enter": "↵",
    "space": "space",
    "escape": "esc",
    "right_square_bracket": "]",
    "backslash": "\\",
    "circumflex_accent": "^",
    "underscore": "_",
    "up": "↑",
    "down": "↓",
}


def key_label(key: str) -> str:
    """A key as it stands on the keyboard: `question_mark` is `?`, `ctrl+right_square_bracket` is `ctrl+]`."""
    return "+".join(_GLYPHS.get(part, part) for part in key.split("+"))


def textual_key(key: str) -> str:
    """A key as Textual names it, from what people write in settings: `ctrl+]`."""
    names = {"]": "right_square_bracket", "\\": "backslash", "^": "circumflex_accent", "_": "underscore"}
    *modifiers, last = key.strip().lower().split("+") if key.strip() else [""]
    return "+".join([*modifiers, names.get(last, last)])


def command(identity: str) -> Command:
    """The command of that id."""
    return next(item for item in COMMANDS if item.id == identity)


def scoped(*scopes: Scope) -> tuple[Command, ...]:
    """The commands of these scopes, in the table's order."""
    return tuple(item for item in COMMANDS if item.scope in scopes)


def footer(*scopes: Scope) -> tuple[Command, ...]:
    """What the key bar shows, in its order."""
    return tuple(sorted((item for item in scoped(*scopes) if item.footer), key=lambda item: item.footer))
