"""What estimates learn from answers that were counted: how many tokens a model makes of what we call one.

Each bottle's sidecar keeps one, in memory: an agent's texts resemble each other, so after a few whole answers an
estimate of a broken one is a few percent off, whatever the model's tokenizer. Pure values, bounded.
"""

from typing import Literal

from sidecar.meter.estimate import family_factor

Side = Literal["input", "output"]

LEAST = 100.0
"""Units from which an answer teaches: below, one word more or less is the noise."""

LOWEST, HIGHEST = 0.4, 2.5
"""Ratios beyond are no tokenizer's doing (hidden reasoning, images): they teach nothing."""

MEMORY = 20_000.0
"""Units after which older answers have faded: a day's work changes style, and a model may change under its name."""

MOST_MODELS = 64


class Calibration:
    """Ratios by model and side. Not shared between threads."""

    def __init__(self) -> None:
        self._sums: dict[tuple[Side, str], tuple[float, float]] = {}

    def learn(self, side: Side, model: str, estimated: float, counted: int) -> None:
        """`counted` tokens were what we would have called `estimated` units."""
        if estimated < LEAST or not LOWEST <= counted / estimated <= HIGHEST:
            return
        ours, theirs = self._sums.pop((side, model), (0.0, 0.0))
        fade = MEMORY / max(MEMORY, ours)
        self._sums[side, model] = (ours * fade + estimated, theirs * fade + counted)
        if len(self._sums) > MOST_MODELS:
            del self._sums[next(iter(self._sums))]  # the one that was used longest ago

    def tokens(self, side: Side, model: str, estimated: float) -> int:
        """`estimated` units as tokens of this model."""
        ours, theirs = self._sums.get((side, model), (0.0, 0.0))
        # weighed against 500 units at the published factor, so that one odd answer does not rule
        prior = family_factor(model)
        return round(estimated * (theirs + 500 * prior) / (ours + 500))
