"""How many tokens a text is, about, without a tokenizer: for what a provider did not count. Pure.

Tokenizers' vocabularies are megabytes fetched at run time, and Anthropic's and Google's are not public. A
linear model of what their splitting rules do is close: words, digits in threes, runs of punctuation, line ends,
characters beyond ASCII. docs/metering.md says how it was fitted and how far off it is.
"""

import re
import secrets
from collections.abc import Iterable

from sidecar.meter.media import Media, text_in

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_SPACED = re.compile(r" [A-Z]?[a-z]")
_HARD = re.compile(r"[bcdfghjklmnpqrstvwxz]{4}")
_DIGITS = re.compile(r"[0-9]{1,3}")
_PUNCTUATION = re.compile(r"[!-/:-@\[-`{-~]+")
_JOINT = re.compile(r"[A-Za-z][!-/:-@\[-`{-~](?=[A-Za-z])")
_BORDER = re.compile(r"[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])")
_LINE = re.compile(r"\n\s*")
_GAP = re.compile(r"  +|\t+")
_INDENT = re.compile(r"\n(?:  +|\t+)")
_CJK = re.compile(r"[\u3000-\u9fff\uac00-\ud7af\uff00-\uffef]")
_WIDE = re.compile(r"[\u2e80-\u2fff\ua000-\uabff\ud7b0-\ufeff\ufff0-\U0010ffff]")
_OTHER = re.compile(r"[\x80-\u2e7f]")

# Least squares on relative error over 1,575 excerpts (800 to 4,000 characters: Python, JavaScript, C, Perl, shell,
# JSON, HTML, Markdown, prose; each kind weighs alike) against the counts of OpenAI's o200k_base.
WORD, LETTER_BEYOND_FIVE, CAPITAL, SPACED, HARD = 0.836, 0.039, 0.162, 0.063, 0.824
SHOUTED, LETTER_SHOUTED = 0.824, 0.065
DIGIT_GROUP, BORDER = 1.203, -0.355
PUNCTUATION_RUN, PUNCTUATION_MORE, PUNCTUATION_MIXED, JOINT = 0.827, 0.150, 0.177, -0.332
LINE, GAP, WIDE, OTHER = 1.610, 1.093, 1.815, 0.595
CJK = 0.8
"""By hand, from Chinese and Japanese paragraphs: the excerpts hold too few."""

FOLD = 2048
"""Characters that are gathered before they are counted: less than half a millisecond's work (bench `meter`)."""

FAMILIES = (("claude", 4 / 3.5),)
"""Tokens for each of o200k_base's: Anthropic's glossary says 3.5 characters a token, OpenAI's says 4."""
OTHERS = 1.035
"""What agents read and write is 2 to 10 % more than excerpts have it, in most of what was measured: names, paths, short
lines. Half way, so that neither is far off."""


def family_factor(model: str) -> float:
    return next((factor for name, factor in FAMILIES if name in model.lower()), OTHERS)


def units(text: str) -> float:
    """Tokens of `text` in o200k_base's units."""
    words = _WORD.findall(text)
    runs = _PUNCTUATION.findall(text)
    small = [len(word) for word in words if word[-1] >= "a"]
    shouted = sum(map(len, words)) - sum(small)
    loud = len(words) - len(small)
    total = (
        WORD * len(small)
        + LETTER_BEYOND_FIVE * sum(size - 5 for size in small if size > 5)
        + CAPITAL * (sum(word[0] < "a" for word in words) - loud)
        + SPACED * len(_SPACED.findall(text))
        + HARD * len(_HARD.findall(text))
        + SHOUTED * loud
        + LETTER_SHOUTED * (shouted - loud)
        + DIGIT_GROUP * len(_DIGITS.findall(text))
        + BORDER * len(_BORDER.findall(text))
        + PUNCTUATION_RUN * len(runs)
        + PUNCTUATION_MORE * (sum(map(len, runs)) - len(runs))
        + PUNCTUATION_MIXED * sum(len(run) > 1 and len(set(run)) > 1 for run in runs)
        + JOINT * len(_JOINT.findall(text))
        + LINE * len(_LINE.findall(text))
        + GAP * (len(_GAP.findall(text)) - len(_INDENT.findall(text)))
    )
    if not text.isascii():
        total += CJK * len(_CJK.findall(text)) + WIDE * len(_WIDE.findall(text)) + OTHER * len(_OTHER.findall(text))
    return total


class Text:
    """The text of one answer as it arrives: counted in pieces, never kept whole."""

    __slots__ = ("_pieces", "_size", "_units", "added", "characters")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0
        self._units = 0.0
        self.characters = 0
        self.added = 0
        """Pieces that it came in."""

    def add(self, text: object) -> None:
        if not isinstance(text, str) or not text:
            return
        self._pieces.append(text)
        self._size += len(text)
        self.characters += len(text)
        self.added += 1
        if self._size >= FOLD:
            self._fold()

    def _fold(self) -> None:
        """Counts what was gathered but the last word, which may go on."""
        text = "".join(self._pieces)
        cut = max(text.rfind(" "), text.rfind("\n")) if len(text) < 4 * FOLD else len(text)
        cut = len(text) if cut <= 0 else cut
        self._units += units(text[:cut])
        self._pieces, self._size = [text[cut:]], len(text) - cut

    def units(self) -> float:
        return self._units + units("".join(self._pieces))

    def clear(self) -> None:
        self._pieces, self._size, self._units, self.characters, self.added = [], 0, 0.0, 0, 0


SAMPLES, SAMPLE = 16, 2048
"""Pieces of a large body that are counted, and their size: about five milliseconds' work, whatever the size. Where they
lie is chance: who knew it could have cheap text there alone."""

PICTURE, FILE_BYTES = 1000, 50
"""Tokens of a picture, and characters in base64 of any other file for each token: vendors count from 85 to 3,000, by
its edges, pages or seconds."""

_BLOB = re.compile(rb"[A-Za-z0-9+/_=-]{200}")
_BLOB_END = re.compile(rb"[A-Za-z0-9+/_=-]*+")
_BLOB_MARKS = (b"base64", b"inlineData", b"inline_data")
"""What stands right before an image or a file in a request that is too large to be read whole."""

MOST_BLOBS = 1000

MOST_MISSED = 16
"""Pictures and files that do not stand in a body as they were read, as with escapes in them: each of them costs a look
through all of its rest."""


def json_units(body: bytes, media: Iterable[Media] | None) -> float:
    """Tokens of a JSON body, about: of the texts in large ones by sample. `media`: what it holds that is no text; None:
    that is not known."""
    text, total = _without_blobs(body) if media is None else _without(body, media)
    step = max(SAMPLE, len(text) // SAMPLES)
    begins = (at + secrets.randbelow(step - SAMPLE + 1) for at in range(0, len(text), step))
    taken = [text[at : at + SAMPLE] for at in begins]
    size = sum(map(len, taken))
    return total + (sum(_json_units(piece) for piece in taken) * (len(text) / size) if size else 0.0)


_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def _json_units(piece: bytes) -> float:
    text = piece.decode("utf-8", "ignore")
    if "\\u" in text:  # as some clients write all that is not ASCII: six letters for one
        text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    return units(text.replace("\\n", "\n").replace('\\"', '"').replace("\\\\", "\\"))


def _without(body: bytes, media: Iterable[Media]) -> tuple[bytes, float]:
    """The rest of the body, texts in files among it, and the tokens of what was taken out. What is not found as it was
    read stays."""
    kept: list[bytes] = []
    at, missed, total = 0, 0, 0.0
    for each in media:
        data = each.data.encode("utf-8", "replace")
        begin = body.find(data, at)
        if begin >= 0:
            kept.append(body[at:begin])
            at = begin + len(data)
            text = b"" if each.picture else text_in(each.data)
            kept.append(text)
            if not text:
                total += PICTURE if each.picture else len(data) / FILE_BYTES
        elif (missed := missed + 1) >= MOST_MISSED:
            break
    return b"".join([*kept, body[at:]]), total


def _without_blobs(body: bytes) -> tuple[bytes, float]:
    """The same, found by marks: a search for long runs themselves would take a tenth of a second for 5 MB."""
    kept: list[bytes] = []
    at = 0
    for mark in sorted(_marks(body)):
        begins = _BLOB.search(body, mark, mark + 600) if mark >= at else None
        if begins:
            kept.append(body[at : begins.start()])
            ends = _BLOB_END.match(body, begins.start())
            at = ends.end() if ends else begins.end()
    text = b"".join([*kept, body[at:]])
    return text, (len(body) - len(text)) / FILE_BYTES


def _marks(body: bytes) -> list[int]:
    found: list[int] = []
    for mark in _BLOB_MARKS:
        at = body.find(mark)
        while at >= 0 and len(found) < MOST_BLOBS:
            found.append(at)
            at = body.find(mark, at + len(mark))
    return found
