"""Draws all assumed numbers of a simulated device's profile at once, and ranks strategies on each.

`harness.study.sensitivity` changes one number at a time and runs the simulator. Thousands of
profiles need the model of a pass, which gives the same times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.config.device import Simulator
from harness.config.schema import Config
from harness.execution.predict import experiment_model
from harness.execution.prepare import make_plan
from harness.study.profile_numbers import Number
from harness.study.sensitivity import SAME_PCT

DRAWS = 10_000
LEAST_CORRELATION = 0.1
"""Smaller rank correlations are chance: that of two unrelated series of 1,000 has a standard
deviation of 0.03."""


@dataclass(frozen=True)
class Place:
    """A strategy's place in the order of times, fastest first.

    rank: on the unchanged profile, from 1; equal times share a rank. holds: share of the draws in
    which it has this rank. best, worst: its extreme ranks. clear: share of the draws in which the
    next strategy takes over SAME_PCT longer; None for the last. decides: key of the number on which
    its lead depends most, empty if it depends on none. correlation: Spearman's, of that number and
    the lead. The lead is the time of the next strategy in the order divided by its own time; for
    the last strategy, that of the strategy before it.
    """

    strategy: str
    rank: int
    holds: float
    best: int
    worst: int
    clear: float | None
    decides: str
    correlation: float


@dataclass(frozen=True)
class Ranks:
    """Places of the strategies, fastest first.

    draws: with all strategies completing. failed: draws in which a strategy fails. holds: share of
    draws with the same rank of every strategy. numbers: keys of the drawn numbers.
    """

    places: tuple[Place, ...]
    draws: int
    failed: int
    holds: float
    numbers: tuple[str, ...]


def drawable(device: Simulator, numbers: Sequence[Number]) -> list[Number]:
    """The numbers that can be drawn: costs, without limits and the parameters of noise."""
    plain = {name for name, value in vars(device).items() if isinstance(value, int | dict)}
    return [
        each
        for each in numbers
        if each.changed_values and not each.is_limit and each.key.partition(".")[0] in plain
    ]


def draw(numbers: Sequence[Number], draws: int, seed: int) -> dict[str, NDArray[np.int64]]:
    """Random values of each number, (draws,) int64 by key.

    They are independent and uniform between the values to which `sensitivity` changes the number.
    """
    generator = np.random.default_rng(seed)
    drawn: dict[str, NDArray[np.int64]] = {}
    for each in numbers:
        ends = (int(each.value), *map(int, each.changed_values.values()))
        drawn[each.key] = generator.integers(min(ends), max(ends) + 1, draws)
    return drawn


def rank_draws(
    configs: Mapping[str, Config], numbers: Sequence[Number], draws: int = DRAWS, seed: int = 0
) -> Ranks | None:
    """Rank strategies on `draws` profiles; None if there is no number to draw, or all draws fail.

    configs: one per strategy, by name, equal in everything else. NotModelledError as
    `experiment_model`.
    """
    device = next(iter(configs.values())).device
    # The command refuses other devices.
    assert isinstance(device, Simulator)
    numbers = drawable(device, numbers)
    if not numbers:
        return None
    drawn = draw(numbers, draws, seed)
    base_ns, columns, right = list[int](), list[NDArray[np.int64]](), np.ones(draws, bool)
    for config in configs.values():
        plan = make_plan(config)
        base_ns.append(int(experiment_model(plan).times().makespan_ns))
        model = experiment_model(plan, drawn)
        times = model.times()
        columns.append(np.broadcast_to(times.makespan_ns, draws))
        right &= model.completes(times)
    if not right.any():
        return None
    return _ranks(list(configs), np.array(base_ns), np.array(columns)[:, right], drawn, right)


def _ranks(
    names: Sequence[str],
    base_ns: NDArray[np.int64],
    totals_ns: NDArray[np.int64],
    drawn: Mapping[str, NDArray[np.int64]],
    right: NDArray[np.bool_],
) -> Ranks:
    """base_ns: (strategies,). totals_ns: (strategies, draws). right: (all draws,)."""
    from scipy.stats import rankdata, spearmanr

    base_ranks = rankdata(base_ns, "min")
    ranks = rankdata(totals_ns, "min", axis=0)
    same = ranks == base_ranks[:, None]
    order = np.argsort(base_ns, kind="stable")
    places = []
    for position, own in enumerate(order):
        is_last = position + 1 == len(order)
        neighbour = order[position - 1 if is_last else position + 1]
        lead = totals_ns[neighbour] / np.maximum(totals_ns[own], 1)
        decides, correlation = "", 0.0
        # The correlation of a constant is not defined.
        if np.ptp(lead):
            found = {key: float(spearmanr(each[right], lead)[0]) for key, each in drawn.items()}
            key = max(found, key=lambda key: abs(found[key]))
            if abs(found[key]) >= LEAST_CORRELATION:
                decides, correlation = key, found[key]
        places.append(
            Place(
                names[own],
                int(base_ranks[own]),
                float(same[own].mean()),
                int(ranks[own].min()),
                int(ranks[own].max()),
                None if is_last else float((lead > 1 + SAME_PCT / 100).mean()),
                decides,
                correlation,
            )
        )
    return Ranks(
        places=tuple(places),
        draws=totals_ns.shape[1],
        failed=int((~right).sum()),
        holds=float(same.all(axis=0).mean()),
        numbers=tuple(drawn),
    )
