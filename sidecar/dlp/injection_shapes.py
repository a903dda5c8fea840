"""How instructions look that a document gives to the agent that reads it: shapes that have been published. Pure data.

Each is an ASCII expression, bounded, without lookaround. `strong` ones block alone: an order given to whoever reads, at
the start of a sentence. Weak ones are what the same words look like when somebody writes about them, or the parts that
attacks are put together from; two of them near one another that make sense together block (`TOGETHER`).
"""

from dataclasses import dataclass
from typing import Literal

Family = Literal["override", "hijack", "address", "secrecy", "leak", "command", "persona", "markup", "prompt"]

# Between two words: blanks, line ends also as JSON escapes, and what Markdown and HTML set words off with.
_GAP = r"(?:(?:[ \t\r\n*_~`>]|\\[nrt]|&nbsp;){1,6})"
# Whatever stands in one sentence.
_SAME = r"(?:[^.\r\n]|[.][^ \r\n])"
# Where a sentence begins, also inside of JSON, Markdown, HTML and comments.
_BEGIN = (
    r"(?:\A|[\r\n.!?:;>*#\]})\x60=|/-]|\\[nrt]|<!--|[:\[,{][ ]{0,1}\\{0,3}\")(?:[ \t*_#>\"'\r\n]|\\[nrt]|&nbsp;){0,6}"
    r"(?:(?:please|now|important|attention|urgent|warning|note|first|so|and|but|hey|hello|hi|stop|ok|okay|assistant|system"
    r"|user|claude|chatgpt|gpt|gemini|copilot|codex|agent|ai|you[ ](?:must|should|need[ ]to|have[ ]to|will|shall|are[ ]to))"
    r"[ ,.:!*_\r\n-]{1,4}){0,3}"
)


def _words(*choices: str) -> str:
    return "(?:" + "|".join(choice.replace(" ", _GAP) for choice in choices) + ")"


_QUIT = _words(
    "ignore", "disregard", "forget", "override", "bypass", "discard", "neglect", "cancel", "drop", "set aside",
    "do not follow", "don't follow", "stop following", "pay no attention to", "do not obey", "don't obey", "skip",
)  # fmt: skip
_WHICH = rf"(?:{_words('all', 'any', 'every', 'everything', 'the', 'your', 'my', 'of', 'these', 'those', 'other', 'and')}{_GAP}){{0,4}}"
_FORMER = _words(
    "previous", "prior", "preceding", "above", "earlier", "former", "foregoing", "past", "existing", "original",
    "initial", "current", "system", "safety", "developer", "built-in", "previously given", "last",
)  # fmt: skip
_ORDERS = _words(
    "instructions?", "prompts?", "directions?", "directives?", "guidelines?", "commands?", "rules", "orders",
    "constraints", "restrictions", "programming", "training", "messages?", "context", "policies", "guardrails", "tasks?",
)  # fmt: skip
_OVERRIDE = rf"{_QUIT}{_GAP}{_WHICH}{_FORMER}{_GAP}(?:[a-z-]{{2,14}}{_GAP}){{0,2}}{_ORDERS}"
_OVERRIDE_BACK = (
    rf"{_QUIT}{_GAP}{_WHICH}(?:{_ORDERS}|{_words('everything', 'anything', 'all', 'what')}){_GAP}"
    rf"(?:{_words('that', 'which', 'you', 'i', 'we', 'were', 'was', 'have', 'has', 'been', 'given', 'told', 'said', 'to')}{_GAP}){{0,5}}"
    rf"{_words('above', 'before', 'before this', 'so far', 'previously', 'earlier', 'up to now', 'until now', 'prior to this')}"
)
_PROMPT = rf"(?:your|the){_GAP}(?:(?:full|entire|complete|exact|whole|original|initial|hidden|secret|internal|current){_GAP}){{0,2}}{_words('system prompt', 'initial prompt', 'hidden prompt', 'system message', 'initial instructions', 'hidden instructions', 'system instructions', 'secret instructions', 'developer message')}"
_SHOW = _words(
    "reveal", "print", "output", "repeat", "show", "display", "tell me", "give me", "reproduce", "leak", "disclose",
    "dump", "recite", "write out", "share", "summarize", "translate", "send", "post", "email", "append",
)  # fmt: skip
_READER = _words(
    "ai", "ais", "llm", "llms", "a.i.", "language models?", "large language models?", "ai agents?", "ai assistants?",
    "ai models?", "ai systems?", "coding agents?", "coding assistants?", "assistants?", "agents?", "chatbots?", "bots?",
    "claude", "claude code", "chatgpt", "gpt-[0-9a-z.]{1,6}", "gemini", "copilot", "github copilot", "codex", "cursor",
    "automated agents?", "autonomous agents?",
)  # fmt: skip
_TAKE = _words(
    "read", "open", "cat", "access", "send", "upload", "post", "forward", "pass", "include", "append", "attach", "copy",
    "exfiltrate", "transmit", "leak", "submit", "fetch", "retrieve", "collect", "encode", "paste", "email", "extract", "find",
)  # fmt: skip
_TREASURE = (
    r"(?:id_rsa|id_ed25519|[.]ssh\b|[.]env\b|mcp[.]json|[.]aws|[.]netrc|[.]npmrc|[.]pypirc|[.]kube|[.]git-credentials|/etc/(?:passwd|shadow)|"
    + _words(
        "api[\\x20_-]keys?", "access tokens?", "auth tokens?", "tokens?", "passwords?", "credentials?", "secrets?",
        "private keys?", "ssh keys?", "environment variables?", "env vars?", "conversation history", "chat history",
        "entire conversation", "conversation", "system prompt", "source code", "session cookies?", "private repositor(?:y|ies)",
    )
    + ")"
)  # fmt: skip
_TO = rf"{_GAP}(?:to|at|via|with|in|into|as|by){_GAP}"
_TARGET = (
    r"(?:https?://|[a-z0-9._-]{1,40}@[a-z0-9-]{1,40}[.]|http|"
    + _words(
        "the following (?:url|address|endpoint|server|link|email|webhook)", "this (?:url|address|endpoint|server|link|email|webhook|issue|repository)",
        "my (?:server|email|webhook|endpoint)", "an? (?:external|attacker|remote) (?:server|url|endpoint)", "the attacker", "a public (?:gist|repo|repository|issue)",
    )
    + ")"
)  # fmt: skip


# --- what each is searched for by: short, since a search has no use for a hundred bounded repetitions ----------------

_ANY = r"(?:[^a-z0-9]|\\[nrt]|&nbsp;)+"


def _sign(*parts: str) -> str:
    return _ANY.join(part.replace(_GAP, _ANY) for part in parts)


_S_ORDERS = _sign(_FORMER, rf"(?:[a-z-]+{_ANY})?{_ORDERS}")
_S_QUIT = _sign(
    _QUIT, r"(?:all|any|every|the|your|my|what|these|those|instruction|prompt|direction|command|rule|order)"
)
_S_PROMPT = _sign(r"(?:system|initial|hidden|secret|developer)", r"(?:prompt|message|instructions)")
_S_NEW = _sign(r"(?:new|updated|real|actual|true)", r"(?:instructions|task)")
_S_TOOL = _sign(
    r"(?:us(?:e|ing)|call(?:ing)?|invok(?:e|ing)|run(?:ning)?|execut(?:e|ing))",
    r"(?:this|the|any|that|these|other)",
    rf"(?:[a-z_.-]+{_ANY}){{0,2}}tool",
)
_S_ROLE = _sign(r"(?:you", "are", "now|from", "now", "on|act", "as|pretend", "(?:to|you))")
_S_SEND = _sign(r"(?:to|at|via|with|in|into|as|by)", _TARGET)
_S_SECRECY = _sign(
    r"(?:do", "not|don.t|never|without)", r"(?:tell|mention|inform|notify|alert|reveal|disclos|show|let|ask)"
)
_S_COMMAND = _sign(
    r"(?:must|should|to|please|immediately|silently|first)", r"(?:run|execute|download|install|open|use|call|delete)"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape: `sign` says where it may be, `source` what it is. `strong`: it blocks alone; `begins`: a sentence does
    with it."""

    code: str
    title: str
    family: Family
    sign: str
    source: str
    strong: bool = False
    begins: bool = False

    @property
    def exact(self) -> str:
        """The expression that decides. Where a sentence must begin is no part of what is searched for: it is slow."""
        return f"(?i){_BEGIN}{self.source}" if self.begins else f"(?i){self.source}"


STRONG = (
    Shape("override", "Tells its reader to ignore former instructions", "override", _S_ORDERS, _OVERRIDE, True, True),
    Shape(
        "override_before",
        "Tells its reader to forget what came before",
        "override",
        _S_QUIT,
        _OVERRIDE_BACK,
        True,
        True,
    ),
    Shape(
        "override_new",
        "Puts its own instructions in the place of former ones",
        "override",
        _S_NEW,
        rf"{_words('new instructions', 'updated instructions', 'your new instructions', 'your real instructions', 'your actual task', 'your new task', 'your true task', 'real instructions')}"
        rf"{_GAP}{{0,1}}(?:(?:are|is)(?:{_GAP}as{_GAP}follows){{0,1}}|[:-]).{{0,80}}"
        rf"{_words('ignore', 'disregard', 'forget', 'send', 'run', 'execute', 'reveal', 'delete', 'upload', 'exfiltrate', 'you must', 'read')}",
        True,
    ),
    Shape(
        "prompt_leak",
        "Asks its reader for the system prompt",
        "prompt",
        _S_PROMPT,
        rf"{_SHOW}{_GAP}(?:(?:me|us|back|out|verbatim|exactly|all|of){_GAP}){{0,3}}your{_PROMPT[len('(?:your|the)') :]}",
        True,
        True,
    ),
    Shape(
        "tool_poison",
        "A tool that makes its use depend on secrets",
        "hijack",
        _S_TOOL,
        rf"{_words('before', 'when', 'prior to', 'each time you', 'whenever', 'in order to')}{_GAP}(?:[a-z]{{1,12}}{_GAP}){{0,4}}"
        rf"{_words('use', 'using', 'call', 'calling', 'invoke', 'invoking', 'run', 'running', 'execute', 'executing')}{_GAP}"
        rf"(?:this|the|any|that|these|other)(?:{_GAP}[a-z_.-]{{1,24}}){{0,2}}{_GAP}tools?{_SAME}{{0,120}}{_TAKE}{_GAP}{_SAME}{{0,80}}{_TREASURE}",
        True,
    ),
    Shape(
        "tool_result_break",
        "Closes a tool's result and goes on as somebody else",
        "hijack",
        "",
        r"</(?:tool_result|tool_results|function_results?|function_response|tool_response|tool_output|observation|untrusted[a-z_-]{0,20}|"
        r"search_results?|retrieved_[a-z]{1,12}|document_content|web_page|webpage)>(?:[\s]|\\[nrt]){0,8}"
        r"(?:<(?:system|instructions?|user|human|admin)[a-z_-]{0,16}>|(?:human|user|system|assistant)(?:[ ]{0,1}(?:message|prompt)){0,1}[ ]{0,1}:|\[(?:system|inst)\])",
        True,
    ),
    Shape(
        "persona_unbound",
        "Tells its reader to be one without restrictions",
        "persona",
        _S_ROLE,
        rf"(?:you{_GAP}are{_GAP}now|from{_GAP}now{_GAP}on,?{_GAP}you{_GAP}(?:are|will{_GAP}be|will{_GAP}act{_GAP}as)|act{_GAP}as|pretend{_GAP}(?:to{_GAP}be|you{_GAP}are)){_GAP}"
        rf"(?:(?:an?|the|in|called|named){_GAP}){{0,2}}{_words('dan', 'do anything now', 'developer mode', 'jailbroken', 'an unrestricted', 'unrestricted', 'unfiltered', 'uncensored', 'free of all restrictions', 'godmode', 'god mode', 'evil')}",
        True,
    ),
    Shape(
        "leak_own",
        "Tells its reader to send off what it knows",
        "leak",
        _S_SEND,
        rf"{_words('send', 'post', 'upload', 'exfiltrate', 'transmit', 'leak', 'forward', 'email', 'submit', 'encode and send')}{_GAP}(?:[a-z]{{1,12}}{_GAP}){{0,3}}"
        rf"(?:your|this|the{_GAP}user's|the{_GAP}entire|all|any){_GAP}.{{0,40}}{_TREASURE}.{{0,40}}{_TO}{_TARGET}",
        False,
        True,
    ),
    Shape(
        "override_foreign",
        "Tells its reader to ignore former instructions (not in English)",
        "override",
        "",
        r"(?:ignorier(?:e|en[ ]sie)|vergiss|vergessen[ ]sie|missachte)[ ](?:bitte[ ]){0,1}(?:alle|s\xc3\xa4mtliche|die|deine|ihre)[ ](?:(?:vorherigen|bisherigen|fr\xc3\xbcheren|vorangegangenen|obigen)[ ]){1,2}(?:anweisungen|instruktionen|befehle|regeln|vorgaben)"
        r"|ignora(?:r){0,1}[ ](?:todas[ ]){0,1}(?:las|tus)[ ](?:instrucciones|\xc3\xb3rdenes|reglas)[ ](?:anteriores|previas)"
        r"|olvida[ ](?:todas[ ]){0,1}(?:las|tus)[ ](?:instrucciones|\xc3\xb3rdenes)[ ](?:anteriores|previas)"
        r"|(?:ignore[zr]{0,1}|oublie[zr]{0,1})[ ](?:toutes[ ]){0,1}(?:les|vos|tes)[ ](?:instructions|consignes|directives)[ ](?:pr\xc3\xa9c\xc3\xa9dentes|ant\xc3\xa9rieures|ci-dessus)"
        r"|ignor[ea][ ](?:todas[ ]){0,1}as[ ]instru\xc3\xa7\xc3\xb5es[ ]anteriores"
        r"|ignora[ ](?:tutte[ ]){0,1}le[ ]istruzioni[ ]precedenti"
        r"|(?:\xe5\xbf\xbd\xe7\x95\xa5|\xe6\x97\xa0\xe8\xa7\x86)(?:\xe6\x89\x80\xe6\x9c\x89|\xe4\xbd\xa0){0,2}(?:\xe4\xb9\x8b\xe5\x89\x8d|\xe4\xbb\xa5\xe4\xb8\x8a|\xe5\x85\x88\xe5\x89\x8d|\xe5\x89\x8d\xe9\x9d\xa2)(?:\xe7\x9a\x84){0,1}(?:\xe6\x89\x80\xe6\x9c\x89|\xe5\x85\xa8\xe9\x83\xa8){0,1}(?:\xe7\x9a\x84){0,1}(?:\xe6\x8c\x87\xe4\xbb\xa4|\xe6\x8c\x87\xe7\xa4\xba|\xe6\x8f\x90\xe7\xa4\xba|\xe8\xa7\x84\xe5\x88\x99)"
        r"|(?:\xe4\xbb\xa5\xe5\x89\x8d|\xe3\x81\x93\xe3\x82\x8c\xe3\x81\xbe\xe3\x81\xa7|\xe4\xb8\x8a\xe8\xa8\x98)\xe3\x81\xae(?:\xe3\x81\x99\xe3\x81\xb9\xe3\x81\xa6\xe3\x81\xae){0,1}(?:\xe6\x8c\x87\xe7\xa4\xba|\xe5\x91\xbd\xe4\xbb\xa4)(?:\xe3\x82\x92)(?:\xe3\x81\x99\xe3\x81\xb9\xe3\x81\xa6){0,1}(?:\xe7\x84\xa1\xe8\xa6\x96|\xe5\xbf\x98\xe3\x82\x8c)"
        r"|(?:\xd0\xb8|\xd0\x98)\xd0\xb3\xd0\xbd\xd0\xbe\xd1\x80\xd0\xb8\xd1\x80\xd1\x83\xd0\xb9(?:\xd1\x82\xd0\xb5){0,1}[ ](?:\xd0\xb2\xd1\x81\xd0\xb5[ ]){0,1}(?:\xd0\xbf\xd1\x80\xd0\xb5\xd0\xb4\xd1\x8b\xd0\xb4\xd1\x83\xd1\x89\xd0\xb8\xd0\xb5)[ ](?:\xd0\xb8\xd0\xbd\xd1\x81\xd1\x82\xd1\x80\xd1\x83\xd0\xba\xd1\x86\xd0\xb8\xd0\xb8|\xd1\x83\xd0\xba\xd0\xb0\xd0\xb7\xd0\xb0\xd0\xbd\xd0\xb8\xd1\x8f)",
        True,
    ),
)

WEAK = (
    Shape("override_mention", "Words that ignore former instructions", "override", _S_ORDERS, _OVERRIDE),
    Shape("override_mention", "Words that ignore former instructions", "override", _S_QUIT, _OVERRIDE_BACK),
    Shape(
        "address",
        "Speaks to an AI that reads it",
        "address",
        "",
        rf"{_words('attention', 'important', 'note', 'notice', 'message', 'instructions?', 'hint', 'warning', 'hello', 'hey', 'dear', 'if you are', 'if you.re')}{_GAP}{{0,1}}"
        rf"[:,!-]{{0,1}}{_GAP}{{0,1}}(?:(?:to|for|an?|all|any|the|every){_GAP}){{0,3}}{_READER}(?:{_GAP}{_words('reading', 'processing', 'parsing', 'summarizing', 'reviewing', 'that', 'who', 'which')}|[ ]{{0,1}}[:,!.])",
    ),
    Shape(
        "secrecy",
        "Asks to keep something from the user",
        "secrecy",
        _S_SECRECY,
        rf"{_words('do not', 'don.t', 'never', 'without')}{_GAP}{_words('tell', 'telling', 'mention', 'mentioning', 'inform', 'informing', 'notify', 'notifying', 'alert', 'alerting', 'reveal', 'revealing', 'disclose', 'show', 'showing', 'let', 'asking', 'ask')}"
        rf"{_GAP}(?:[a-z]{{1,12}}{_GAP}){{0,4}}(?:the{_GAP}){{0,1}}{_words('user', 'users', 'human', 'operator', 'developer', 'owner')}",
    ),
    Shape(
        "leak",
        "Sends secrets somewhere",
        "leak",
        _S_SEND,
        rf"{_TAKE}{_GAP}{_SAME}{{0,60}}{_TREASURE}{_SAME}{{0,40}}{_TO}{_TARGET}",
    ),
    Shape(
        "leak_link",
        "Puts secrets into a link",
        "leak",
        "(?:base64|url|hex)[ -]?encod",
        rf"(?:base64|url|hex)[ -]{{0,1}}encod(?:e|ed|ing).{{0,60}}{_TREASURE}.{{0,80}}(?:url|link|image|query|parameter|https?://)",
    ),
    Shape(
        "command",
        "Tells an agent to run something",
        "command",
        _S_COMMAND,
        rf"(?:you{_GAP}(?:must|should|need{_GAP}to|have{_GAP}to)|please|immediately|silently|first){_GAP}(?:immediately{_GAP}|first{_GAP}|silently{_GAP}){{0,1}}"
        rf"{_words('run', 'execute', 'download and run', 'install and run', 'open a terminal', 'use the bash tool', 'call the', 'delete all')}{_GAP}",
    ),
    Shape(
        "command_pipe",
        "Runs what it downloads",
        "command",
        "[|][ ]{0,2}(?:sudo[ ])?(?:ba|z|da)?sh",
        r"(?:curl|wget)[ ][^\n\r|]{4,120}[|][ ]{0,2}(?:sudo[ ]){0,1}(?:ba|z|da){0,1}sh\b",
    ),
    Shape(
        "persona",
        "Gives its reader another role",
        "persona",
        _sign("(?:from", "now", "on|no", "longer|have", "no)"),
        rf"(?:from{_GAP}now{_GAP}on,?{_GAP}you{_GAP}(?:are|will|must)|you{_GAP}are{_GAP}no{_GAP}longer{_GAP}(?:an?{_GAP}){{0,1}}{_READER}|you{_GAP}have{_GAP}no{_GAP}(?:rules|restrictions|limits|guidelines))",
    ),
    Shape(
        "prompt",
        "Speaks of showing a system prompt",
        "prompt",
        _S_PROMPT,
        rf"{_SHOW}{_GAP}(?:[a-z]{{1,10}}{_GAP}){{0,3}}{_PROMPT}",
    ),
    Shape(
        "markup",
        "Marks that models read as turns of a conversation",
        "markup",
        "",
        r"<[|](?:im_start|start_header_id)[|]>[ ]{0,1}(?:system|developer)|<<SYS>>|\[INST\]|<[|]system[|]>|<system-reminder>|<system_prompt>|"
        r"(?:\n|\\n){2}(?:Human|System):[ ]",
    ),
)

SHAPES = (*STRONG, *WEAK)

TOGETHER: frozenset[frozenset[str]] = frozenset(
    frozenset(pair)
    for pair in (
        ("override", "leak"),
        ("override", "secrecy"),
        ("override", "command"),
        ("override", "prompt"),
        ("override", "markup"),
        ("address", "leak"),
        ("address", "command"),
        ("address", "secrecy"),
        ("address", "override"),
        ("secrecy", "leak"),
        ("secrecy", "command"),
        ("markup", "leak"),
        ("markup", "secrecy"),
    )
)
