"""Records whose times come from the model of a pass, on profiles that may differ by record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.config.device import Simulator
from harness.config.strategy import Strategy
from harness.execution.predict import experiment_model
from harness.results.record import Record, Samples
from harness.study.calibration_data import runs_of

Numbers = dict[str, float]
DEPTHS, BATCHES, COLUMNS = (1, 2, 3, 4), (1, 2, 4, 8), (1, 2, 3, 4)


def knobs() -> list[Strategy]:
    """Depths, batches and columns in turn, and some together."""
    return [
        *(Strategy(depth=depth) for depth in DEPTHS),
        *(Strategy(batch=batch) for batch in BATCHES[1:]),
        *(Strategy(batch=batch, depth=2) for batch in BATCHES[1:]),
        *(Strategy(columns=columns, depth=2) for columns in COLUMNS[1:]),
        *(Strategy(columns=columns, depth=4) for columns in COLUMNS[1:]),
    ]


def modelled(
    base: Record,
    start: Simulator,
    numbers: Mapping[str, float],
    *,
    changed: Callable[[Strategy, Numbers], Numbers] = lambda _, numbers: numbers,
    noise: float = 0.0,
    seed: int = 0,
    strategies: Sequence[Strategy] = (),
) -> list[Record]:
    """A record for each strategy, as a device with those numbers would leave it.

    changed: the numbers of one strategy, which breaks an assumption of the model. noise: relative
    standard deviation of each time.
    """
    draw = np.random.default_rng(seed)
    records = []
    for each in strategies or knobs():
        record = replace(base, knobs=each, label=each.label)
        (run,) = runs_of([record], start)
        own = changed(each, dict(numbers))
        model = experiment_model(run.plan, {key: np.array([value]) for key, value in own.items()})
        times = model.times(with_intervals=True)

        def measured(value: object, own_draw: np.random.Generator = draw) -> int:
            exact = float(np.atleast_1d(np.asarray(value, float))[0])
            return round(exact * np.exp(noise * own_draw.standard_normal()))

        makespan_ns = measured(times.makespan_ns)
        assert record.totals
        totals = replace(
            record.totals,
            makespan_ns=makespan_ns,
            **{
                f"{stage}_ns": measured(getattr(times, f"{stage}_ns"))
                for stage in ("alloc", "write", "read", "launch")
            },
        )
        assert times.intervals_ns is not None
        interval_ms = measured(np.median(times.intervals_ns)) / 1e6
        samples = [measured(makespan_ns) for _ in range(5)]
        records.append(
            replace(
                record,
                totals=totals,
                samples=Samples(tuple(samples)),
                metrics={**record.metrics, "time/interval_p50_ms": interval_ms},
            )
        )
    return records
