"""A manifest's text: YAML frontmatter between two `---` lines, then Markdown. Pure; every fault is a ConfigError."""

from dataclasses import dataclass

from app.core.yamltree import Document, YamlFault, parse
from app.errors import ConfigError

MAX_FILE = 1024 * 1024
"""A prompt of a megabyte is more than any model takes."""
MAX_FRONTMATTER = 64 * 1024
MAX_STRANGERS = 16 * 1024
"""Frontmatter of a file that somebody else wrote: 200 of them together must not keep a core busy for long."""
MARK = "---"


@dataclass(frozen=True)
class Source:
    """One file's frontmatter and body. `found` is False where the text has no frontmatter at all."""

    document: Document
    body: str
    found: bool = True


def split(data: bytes, file: str, *, text_under: frozenset[str] = frozenset(), limit: int = MAX_FRONTMATTER) -> Source:
    """The frontmatter and the body of a manifest file. Raises ConfigError with file and line."""
    text = decode(data, file)
    lines = text.split("\n")
    if lines[0].rstrip() != MARK:
        return Source(Document({}), text.strip(), found=False)
    end = next((index for index in range(1, len(lines)) if lines[index].rstrip() == MARK), 0)
    if not end:
        raise ConfigError("the frontmatter has no end", "Close it with a line of three hyphens: ---", file=file, line=1)
    header = "\n".join(lines[1:end])
    if len(header) > limit:
        hint = "Keep the keys between the two --- lines short; long text belongs below them"
        raise ConfigError(f"the frontmatter is larger than {limit // 1024} KiB", hint, file=file, line=1)
    # the empty line stands for the first ---, so that every line number is the file's own
    return Source(parse_yaml("\n" + header, file, text_under=text_under), "\n".join(lines[end + 1 :]).strip())


def parse_yaml(text: str, file: str, *, text_under: frozenset[str] = frozenset()) -> Document:
    """YAML that must be a mapping (or nothing)."""
    try:
        document = parse(text, text_under=text_under)
    except YamlFault as fault:
        raise ConfigError(fault.message, fault.hint, file=file, line=fault.line) from None
    if document.value is None:
        return Document({})
    if not isinstance(document.value, dict):
        raise ConfigError("keys are expected here", "Write `key: value` lines", file=file, line=document.line(()))
    return document


def decode(data: bytes, file: str) -> str:
    """The file's text. Refused: what is too large, not UTF-8, or contains a NUL (it would cut paths and arguments)."""
    if len(data) > MAX_FILE:
        hint = "Shorten it: long reference text belongs in the project or in a skill"
        raise ConfigError(f"the file is larger than {MAX_FILE // 1024} KiB", hint, file=file)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError("not UTF-8 text", "Save the file as UTF-8", file=file, line=line) from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ConfigError("contains a NUL character", "Remove it; is this a text file?", file=file, line=line)
    return text.replace("\r\n", "\n")
