"""Whether a device answers an input faster that it has had before."""

from __future__ import annotations

from dataclasses import dataclass

from harness.measure.stats import LEAST_SAMPLES, Ratio, ratio_interval

TURNS = LEAST_SAMPLES
"""Passes of each kind: the fewest that have an interval."""
MOST_RATIO = 1.1
"""Largest ratio that is no sign of a cache."""


@dataclass(frozen=True)
class CacheCheck:
    """Makespans of passes over the inputs in turn, and over one input again and again, in turns.

    Both are taken after the timed passes and are in no metric.
    """

    in_turn_ns: tuple[int, ...]
    repeated_ns: tuple[int, ...]

    @property
    def ratio(self) -> Ratio:
        """The time of inputs in turn divided by that of one input, with its 95 % interval."""
        return ratio_interval(self.in_turn_ns, self.repeated_ns)

    @property
    def is_cached(self) -> bool:
        """Whether one input is more than 10 % faster, and that is no accident of the noise."""
        low = self.ratio.low
        return low is not None and low > MOST_RATIO
