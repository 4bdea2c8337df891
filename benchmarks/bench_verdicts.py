"""False verdicts about equal programs, and true ones about programs 5 % apart, by five rules.

All rules judge the same passes on the simulator with the noise of published samples; with the
argument `cpu`, equal programs on this machine's processor in real time.
"""

from __future__ import annotations

import packages  # noqa: F401 - exits where one is missing

# isort: split
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, ttest_ind

from harness.config.compose import load
from harness.config.device import Simulator
from harness.config.schema import Config, Measure, Verify
from harness.execution.experiment import Experiment
from harness.measure.comparison import Change, Limits, compare, noise_floor_of
from harness.measure.stats import median_index

Times = NDArray[np.float64]
"""Times of passes in ns, a row for each run."""
Rule = Callable[[Times, Times], bool]
"""Whether a rule reports a difference between runs of a reference and of a candidate."""

EQUAL_TRIALS, EQUAL_PAIRS, MOST_FALSE = 500, 5, 0.01
CPU_TRIALS = 200
APART_TRIALS, APART_PAIRS, LEAST_TRUE = 200, 10, 0.95
FLOOR_PAIRS = 20
DIFFERENCE = 0.05
TILES, PASSES, GAP = 2, 41, 9
"""Tiles of a pass, passes of a run, and passes between two runs: longer than a burst of noise."""
RUNS = 200
"""Runs that are cut out of one experiment."""
LEVEL = 0.05


def config_of(*overrides: str) -> Config:
    return load(
        "tracking=off",
        "strategy=pooled",
        f"workload.tiles={TILES}",
        "workload.source=random",
        *overrides,
    )


def quiet_ns(config: Config) -> int:
    """The time of a pass without noise; its outputs are verified."""
    outcome = Experiment(config).run()
    assert outcome.verdict.value == "OK", outcome.reason
    return outcome.pass_times_ns[-1]


def slower(config: Config) -> Config:
    """The configuration whose pass takes 5 % longer without noise."""

    def with_exec(exec_ns: int) -> Config:
        times = {**config.device.exec_ns, "attention": exec_ns}  # type: ignore[attr-defined]
        return replace(config, device=replace(config.device, exec_ns=times))

    exec_ns = config.device.exec_ns["attention"]  # type: ignore[attr-defined]
    before = quiet_ns(config)
    slope = (quiet_ns(with_exec(2 * exec_ns)) - before) / exec_ns
    found = with_exec(exec_ns + round(DIFFERENCE * before / slope))
    assert abs(quiet_ns(found) / before - 1 - DIFFERENCE) < 1e-5
    return found


def runs(config: Config, count: int, first_seed: int) -> Times:
    """The passes of runs: (count, PASSES) in ns."""
    pieces = []
    for seed in range(first_seed, first_seed + -(-count // RUNS)):
        device = config.device
        if isinstance(device, Simulator):
            device = replace(device, noise=replace(device.noise, enabled=True, seed=seed))
        noisy = replace(
            config,
            device=device,
            measure=Measure(warmup=1, repeats=RUNS * (PASSES + GAP)),
            verify=Verify.off,
        )
        times = np.array(Experiment(noisy).run().pass_times_ns, float)
        pieces.append(times.reshape(RUNS, PASSES + GAP)[:, :PASSES])
    return np.concatenate(pieces)[:count]


def medians(times: Times) -> list[float]:
    return [float(each[median_index(each)]) for each in times]


def harness_rule(noise_floor: float) -> Rule:
    def rule(reference: Times, candidate: Times) -> bool:
        limits = Limits(noise_floor=noise_floor)
        change = compare(medians(reference), medians(candidate), limits).change
        return change in (Change.FASTER, Change.SLOWER)

    return rule


def mann_whitney(reference: Times, candidate: Times) -> bool:
    return bool(mannwhitneyu(reference.ravel(), candidate.ravel()).pvalue < LEVEL)


def t_test(reference: Times, candidate: Times) -> bool:
    return bool(ttest_ind(reference.ravel(), candidate.ravel(), equal_var=False).pvalue < LEVEL)


def five_percent_and_two_sigma(reference: Times, candidate: Times) -> bool:
    """The means differ by more than 5 %, and by more than two standard errors."""
    difference = abs(candidate.mean() - reference.mean())
    error = np.sqrt(reference.var(ddof=1) / reference.size + candidate.var(ddof=1) / candidate.size)
    return bool(difference > 0.05 * reference.mean() and difference > 2 * error)


def nvbench_robust(reference: Times, candidate: Times) -> bool:
    """A gap of 0.5 % between the intervals from minimum to third quartile.

    Source: NVIDIA/nvbench 66212f1, python/scripts/nvbench_compare_robust.py, preset "default",
    compare_intervals_for_clear_gap; the clock is constant here, so cycles confirm every gap.
    """

    def interval(times: Times) -> tuple[float, float]:
        ordered = np.sort(times.ravel())
        return ordered[0], ordered[(75 * (len(ordered) - 1) + 50) // 100]

    (low, high), (other_low, other_high) = interval(reference), interval(candidate)
    return low / other_high >= 1.005 or other_low / high >= 1.005


def trials(
    reference: Times, candidate: Times, count: int, pairs: int
) -> Iterator[tuple[Times, Times]]:
    for trial in range(count):
        part = slice(trial * pairs, (trial + 1) * pairs)
        yield reference[part], candidate[part]


def rules_of(floor_runs: Times) -> dict[str, Rule]:
    """All rules; floor_runs: pairs of equal runs one after another, for the noise floor."""
    floor = noise_floor_of(compare(medians(floor_runs[0::2]), medians(floor_runs[1::2])))
    assert floor is not None
    return {
        f"harness compare, noise floor of {FLOOR_PAIRS} pairs ({100 * floor:.2f} %)": (
            harness_rule(floor)
        ),
        "harness compare, no noise floor": harness_rule(0.0),
        "Mann-Whitney, p < 0.05": mann_whitney,
        "Welch's t-test, p < 0.05": t_test,
        "5 % and 2 sigma": five_percent_and_two_sigma,
        "nvbench, robust rule": nvbench_robust,
    }


def share(rule: Rule, reference: Times, candidate: Times, count: int, pairs: int) -> str:
    """How often the rule reports a difference."""
    verdicts = [rule(a, b) for a, b in trials(reference, candidate, count, pairs)]
    return f"{100 * np.mean(verdicts):.1f} %"


def of_simulator() -> None:
    config = config_of()
    equal = runs(config, 2 * EQUAL_TRIALS * EQUAL_PAIRS, 1)
    # Neighbours in time are a pair.
    first, second = equal[0::2], equal[1::2]
    apart = runs(slower(config), APART_TRIALS * APART_PAIRS, 1001)
    print(
        f"| rule | false, of {EQUAL_TRIALS} trials of {EQUAL_PAIRS} equal pairs | "
        f"true, of {APART_TRIALS} trials of {APART_PAIRS} pairs 5 % apart |"
    )
    print("|---|---:|---:|")
    for name, rule in rules_of(runs(config, 2 * FLOOR_PAIRS, 2001)).items():
        false = share(rule, first, second, EQUAL_TRIALS, EQUAL_PAIRS)
        true = share(rule, first, apart, APART_TRIALS, APART_PAIRS)
        print(f"| {name} | {false} | {true} |", flush=True)
    print(f"targets of the harness: at most {MOST_FALSE:.0%} false, at least {LEAST_TRUE:.0%} true")


def of_cpu() -> None:
    config = config_of("device=cpu")
    quiet_ns(config)
    count = 2 * CPU_TRIALS * EQUAL_PAIRS
    equal = runs(config, count + 2 * FLOOR_PAIRS, 0)
    first, second = equal[:count:2], equal[1:count:2]
    print(f"| rule, device=cpu | false, of {CPU_TRIALS} trials of {EQUAL_PAIRS} equal pairs |")
    print("|---|---:|")
    for name, rule in rules_of(equal[count:]).items():
        print(f"| {name} | {share(rule, first, second, CPU_TRIALS, EQUAL_PAIRS)} |", flush=True)
    print(f"target of the harness: at most {MOST_FALSE:.0%} false")


if __name__ == "__main__":
    of_cpu() if sys.argv[1:] == ["cpu"] else of_simulator()
