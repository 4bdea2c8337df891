"""Random factors on the times of successive NPU calls, with the statistics of published samples.

Source of every constant: UA = Unicorn-Commander/Unicorn-Amanuensis, file
whisperx/npu/npu_optimization/mel_kernels/benchmark_results/performance_benchmarks.json. It has 100
raw times of successive calls on a Phoenix NPU for each of two kernels, A ("simple") and B
("optimized"). A factor is a time divided by the median of its set: 97.7 us (A), 98.4 us (B).

                        A                       B
    MAD                 1.6 %                   2.8 % of the median, over all 100 calls
    fast outliers       0.86 0.86 0.91          0.78 0.84 0.87
    calls > 1.15        25, in runs 12 10 3     11, in runs 5 4 1 1
    their factors       1.21 to 2.58            1.15 to 1.80; mean of both sets 1.81
    p95, maximum        2.45, 2.58              1.24, 1.80
    mean by median      1.24                    1.05
    autocorrelation     0.87                    0.52, at lag 1

The cause of the bursts (clock, scheduler of the host) is not known. Two sets of 100 times support
these figures. They do not support the shapes of the distributions, which are assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, count
from math import log
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from harness.config.disturbance import Noise

FAST = (0.78, 0.91)
"""Range of the factors of fast outliers, log-uniform; UA: 0.784 to 0.913."""

BURST = (1.2, 2.6)
"""Range of the factors in bursts; UA: 1.15 to 2.58. The level of a burst is log-uniform, which
gives a mean of 1.80."""

BURST_CALLS = (3, 12)
"""Range of the lengths of bursts in calls, both ends included, uniform; UA: 3 to 12, except for two
single calls in B."""

JITTER = 0.08
"""Half range of the logarithm of a factor around the level of its burst, uniform. Successive calls
in a burst then differ by 5 % in the median, as UA's do. UA's bursts also decay, which is not
modelled."""

LEAST_GAP = 1
"""Least number of calls between bursts, so that no two touch. Gaps are uniform up to about twice
their mean (assumed). At 18 % in bursts, most windows of 100 calls then have between 11 and 25 %, as
UA's two sets have."""

MOST_BELOW = 0.9
"""Largest share of the tight mode below 1. The tight mode is placed so that the median of all
factors is 1; without fast outliers, a `burst_pct` of 44 reaches this share, and larger ones make
the median larger than 1."""

BLOCK = 4096
"""Calls per draw of random numbers; the series does not depend on it."""

_NORMAL = NormalDist()
_MEAN_CALLS = sum(BURST_CALLS) / 2
_MORE_CALLS = BURST_CALLS[1] - BURST_CALLS[0] + 1
_LEAST_LEVEL = log(BURST[0]) + JITTER
_MORE_LEVEL = log(BURST[1]) - JITTER - _LEAST_LEVEL
_WARM_CYCLES = 8
"""Mean cycles of burst and gap before the first call. They make the first call as likely to be in
a burst as any other call."""


class NoiseFactors:
    """The factors of successive calls; the series depends on the fields of `noise` only.

    Three modes: tight (log-normal, with a MAD of `tight_pct` of its centre), single fast outliers,
    and bursts. The median of all factors is 1. `noise.enabled` has no effect here.
    """

    def __init__(self, noise: Noise) -> None:
        fast = noise.fast_pct / 100
        # Rounded, so that a tiny share counts as 0 and gaps stay finite.
        self._burst = burst = round(noise.burst_pct / 100, 12)
        # The MAD of a normal distribution is 0.674 of its standard deviation.
        self._sigma = noise.tight_pct / 100 / _NORMAL.inv_cdf(0.75)
        below = min((0.5 - fast) / (1 - fast - burst), MOST_BELOW)
        self._centre = -self._sigma * _NORMAL.inv_cdf(below)
        self._fast = fast / (1 - burst)
        # A stream for each purpose: another share of bursts keeps the other numbers.
        seeds = np.random.SeedSequence(noise.seed).spawn(3)
        self._normals, self._uniforms, bursts = (np.random.default_rng(seed) for seed in seeds)
        self._draw = chain.from_iterable(bursts.random(BLOCK).tolist() for _ in count()).__next__
        self._next_burst = 0
        if burst:
            self._more_gap = 2 * (_MEAN_CALLS * (1 - burst) / burst - LEAST_GAP)
            self._next_burst = self._gap() - int(self._draw() * _WARM_CYCLES * _MEAN_CALLS / burst)
        self._overhang: NDArray[np.float64] = np.zeros(BURST_CALLS[1])
        self._next: Callable[[], float] = chain.from_iterable(
            self._block(BLOCK) for _ in count()
        ).__next__

    def __call__(self) -> float:
        """Return the factor of the next call."""
        return self._next()

    def _block(self, calls: int) -> list[float]:
        """Return the next factors.

        Random numbers are drawn per call or per burst, so `calls` does not change the series.
        """
        levels = self._levels(calls)
        tight = self._centre + self._sigma * self._normals.standard_normal(calls)
        which, where = self._uniforms.random((calls, 2)).T
        usual = np.where(which < self._fast, log(FAST[0]) + log(FAST[1] / FAST[0]) * where, tight)
        block: list[float] = np.exp(
            np.where(levels > 0, levels + JITTER * (2 * where - 1), usual)
        ).tolist()
        return block

    def _levels(self, calls: int) -> NDArray[np.float64]:
        """Return, per call, the logarithm of the level of its burst; 0 outside bursts."""
        # A burst may reach into the next block.
        levels = np.concatenate((self._overhang, np.zeros(calls)))
        draw, begin = self._draw, self._next_burst
        while self._burst and begin < calls:
            end = begin + BURST_CALLS[0] + int(_MORE_CALLS * draw())
            level = _LEAST_LEVEL + _MORE_LEVEL * draw()
            if end > 0:
                levels[begin if begin > 0 else 0 : end] = level
            begin = end + self._gap()
        self._next_burst = begin - calls
        self._overhang = levels[calls:]
        return levels[:calls]

    def _gap(self) -> int:
        """Return the calls until the next burst; on average, bursts then have their share."""
        return LEAST_GAP + int(self._more_gap * self._draw() + self._draw())
