"""What estimates learn from answers that were counted: how many tokens a model makes of what we call one, how many it
sends in one piece of a stream, and how much a request reads again that goes on with one of them.

Each bottle's sidecar keeps one, in memory: an agent's texts resemble each other, so after a few whole answers an
estimate of a broken one is a few percent off, whatever the model's tokenizer. A model that has not answered yet is held
to be like the others of its family, and to make of an answer what it made of the request. Pure values, bounded.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

from sidecar.meter.estimate import family_factor

Side = Literal["input", "output", "pieces"]

LEAST = 100.0
"""Units from which an answer teaches: below, one word more or less is the noise."""

LOWEST, HIGHEST = 0.4, 2.5
"""Ratios beyond are no tokenizer's doing (hidden reasoning, images): they teach nothing."""

MEMORY = 20_000.0
"""Units after which older answers have faded: a day's work changes style, and a model may change under its name."""

MOST_KEPT = 256
"""Ratios; a model has three, by each of its names."""

MOST_ANSWERS = 4096
"""Answers of which is remembered how long the conversation was; what goes on with an older one is of unknown size."""

LEAST_PIECES, MOST_IN_PIECE = 30, 64.0
"""A stream of fewer pieces says nothing of their size; pieces of more tokens are no stream's."""

TEXT_OFF, PIECES_OFF = 0.06, 0.10
"""How far off an estimate is held to be before answers have shown it: by text (measured, docs/metering.md), by pieces
(servers differ too much to trust them unseen)."""

TRUST = 1.0
"""As many answers a belief counts for."""

HINT = 1.5
"""What a model made of a request moves a belief by this factor at most: there is more in a request than its text."""

_FAMILY = re.compile(r"[a-z]+")


@dataclass(frozen=True, slots=True)
class _Ratio:
    """Tokens for each unit, faded sums; and how far off it was for the answers that taught it."""

    ours: float = 0.0
    theirs: float = 0.0
    answers: float = 0.0
    off: float = 0.0
    """Sum of the squared relative errors of those answers."""

    def taught(self, estimated: float, counted: int, fade: float, prior: float | None) -> "_Ratio":
        before = self.ratio(prior)
        off = 0.0 if before is None else min(1.0, (before * estimated / counted - 1) ** 2)
        told = before is not None
        return _Ratio(
            self.ours * fade + estimated,
            self.theirs * fade + counted,
            self.answers * fade + told,
            self.off * fade + off,
        )

    def ratio(self, prior: float | None) -> float | None:
        # a prior is weighed as 500 units, so that one odd answer does not rule
        if prior is not None:
            return (self.theirs + 500 * prior) / (self.ours + 500)
        return self.theirs / self.ours if self.ours else None

    def variance(self, believed: float) -> float:
        return (self.off + TRUST * believed**2) / (self.answers + TRUST)


class Calibration:
    """Ratios by model and side. Not shared between threads."""

    def __init__(self) -> None:
        self._sums: dict[tuple[Side, str], _Ratio] = {}
        self._cached: dict[str, float] = {}
        self._answers: dict[str, int] = {}

    def learn(self, side: Side, model: str, estimated: float, counted: int) -> None:
        """`counted` tokens were what we would have called `estimated` units (or pieces)."""
        if side == "pieces":
            if estimated < LEAST_PIECES or counted < LEAST or counted / estimated > MOST_IN_PIECE:
                return
        elif estimated < LEAST or not LOWEST <= counted / estimated <= HIGHEST:
            return
        prior = self._prior(side, model)
        self._teach(side, model, estimated, counted, prior)
        if side != "pieces":  # a server's habit, not a tokenizer's
            self._teach(side, _family(model), estimated, counted, family_factor(model))

    def _teach(self, side: Side, name: str, estimated: float, counted: int, prior: float | None) -> None:
        held = self._sums.pop((side, name), _Ratio())
        fade = MEMORY / max(MEMORY, held.theirs)
        self._sums[side, name] = held.taught(estimated, counted, fade, prior)
        if len(self._sums) > MOST_KEPT:
            del self._sums[next(iter(self._sums))]  # the one that was used longest ago

    def learn_answer(self, answer: str, tokens: int) -> None:
        """The conversation has so many tokens with this answer at its end."""
        if not answer:
            return
        # an id that comes again is no proof that nothing else stands behind it
        self._answers[answer] = max(tokens, self._answers.pop(answer, 0))
        if len(self._answers) > MOST_ANSWERS:
            del self._answers[next(iter(self._answers))]

    def read_before(self, previous: str | None) -> int | None:
        """What a request reads again that goes on with the answer `previous`; None where that was not seen here."""
        return 0 if previous is None else self._answers.get(previous)

    def learn_cached(self, model: str, cached: int, read: int) -> None:
        """So much of what a model read came from a cache."""
        if read < LEAST:
            return
        before = self._cached.pop(model, cached / read)
        self._cached[model] = (before + cached / read) / 2
        if len(self._cached) > MOST_KEPT:
            del self._cached[next(iter(self._cached))]

    def cached(self, model: str) -> float:
        """The part of a conversation that comes from a cache, where the provider tells it with its last event only: as
        with the answers before. What was cached costs a tenth."""
        return self._cached.get(model, 0.0)

    def tokens(self, side: Side, model: str, estimated: float) -> int:
        """`estimated` units as tokens of this model."""
        ratio = self._sums.get((side, model), _Ratio()).ratio(self._prior(side, model))
        return round(estimated * (ratio or 0.0))

    def _prior(self, side: Side, model: str) -> float | None:
        """What a model is held for before it has answered."""
        if side == "pieces":
            return None
        return self._sums.get((side, _family(model)), _Ratio()).ratio(family_factor(model))

    def _by_text(self, model: str, read: tuple[float, int]) -> float:
        ratio = self._sums.get(("output", model), _Ratio()).ratio(self._prior("output", model)) or 0.0
        known = ("output", model) in self._sums or ("output", _family(model)) in self._sums
        if known or read[0] < LEAST or not LOWEST <= read[1] / read[0] <= HIGHEST:
            return ratio
        return math.sqrt(ratio * min(max(read[1] / read[0], ratio / HINT), ratio * HINT))

    def streamed(self, model: str, units: float, pieces: int, read: tuple[float, int] = (0.0, 0)) -> int:
        """The tokens of a stream's text: by what it is and by how many pieces it came in, each as far as it was right
        for this model's answers before. The errors of the two have nothing to do with each other. `read`: units of the
        request, and the tokens that the provider counted in it, where it has said so by now."""
        by_text = units * self._by_text(model, read)
        held = self._sums.get(("pieces", model), _Ratio())
        ratio = held.ratio(None)
        if ratio is None or not pieces or not by_text:
            return round(by_text)
        by_pieces = pieces * ratio
        if not LOWEST <= by_pieces / by_text <= HIGHEST:  # not the kind of stream that taught it
            return round(by_text)
        # fewer pieces say less than a whole answer's
        spread = held.variance(PIECES_OFF) * max(1.0, math.sqrt(LEAST_PIECES * 3 / pieces))
        weight = 1 / spread
        text_weight = 1 / self._sums.get(("output", model), _Ratio()).variance(TEXT_OFF)
        return round((by_text * text_weight + by_pieces * weight) / (text_weight + weight))


def _family(model: str) -> str:
    """Models of one maker, mostly: `claude` of `claude-haiku-4-5`. No model has such a name: it ends in a star."""
    found = _FAMILY.match(model.lower().rpartition("/")[2])
    return f"{found[0][:40]}*" if found else "*"
