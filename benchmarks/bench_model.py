"""Tile-variants per second of the model of a pass, beside tiles per second of the simulator.

A tile-variant is one tile on one profile. The profiles differ in every cost.
"""

from __future__ import annotations

import packages  # noqa: F401 - exits where one is missing

# isort: split
import sys
import time
from dataclasses import replace

import numpy as np

from harness.config.compose import load
from harness.config.schema import Verify
from harness.execution.experiment import Experiment
from harness.execution.predict import experiment_model
from harness.execution.prepare import make_plan

TARGET = 20_000_000
PROFILES, TILES = 10_000, 2_000
REPETITIONS = 3
COSTS = (
    "write_fixed_ns",
    "read_fixed_ns",
    "launch_ns",
    "completion_ns",
    "chain_command_ns",
    "exec_ns.attention",
)
STRATEGIES = ("baseline", "pipelined", "stacked")


def main() -> None:
    generator = np.random.default_rng(0)
    rates = dict[str, float]()
    for strategy in STRATEGIES:
        config = load("tracking=off", f"strategy={strategy}", f"workload.tiles={TILES}")
        config = replace(config, verify=Verify.off)
        device = config.device
        drawn = {}
        for key in COSTS:
            name, _, inner = key.partition(".")
            value = getattr(device, name)
            own = value[inner] if inner else value
            drawn[key] = generator.integers(own // 2, own * 3 // 2, PROFILES)
            # The first profile is the shipped one, which the simulator runs too.
            drawn[key][0] = own
        model = experiment_model(make_plan(config), drawn)
        seconds = []
        for _ in range(REPETITIONS):
            begin_s = time.process_time()
            predicted_ns = model.times().makespan_ns
            seconds.append(time.process_time() - begin_s)
        rates[strategy] = PROFILES * TILES / min(seconds)
        measured_ns = Experiment(config).run().pass_times_ns[0]
        if predicted_ns[0] != measured_ns:
            sys.exit(f"bench_model: {strategy}: {predicted_ns[0]} ns, not {measured_ns} ns")
    print(
        f"model: {min(rates.values()) / 1e6:.0f} million tile-variants/s of CPU time "
        f"(target >= {TARGET / 1e6:.0f}): {PROFILES:,} profiles x {TILES:,} tiles on one core; "
        + ", ".join(f"{name} {rate / 1e6:.0f}" for name, rate in rates.items())
        + f"; minima of {REPETITIONS}"
    )


if __name__ == "__main__":
    main()
