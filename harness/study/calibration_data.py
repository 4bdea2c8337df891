"""The times that a record has for a fit, and their predictions on many profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.config.compose import load
from harness.config.device import PowerMode, Simulator
from harness.config.schema import Config, Measure, Verify
from harness.config.strategy import Buffers
from harness.config.workload import Accounting, Workload
from harness.config.workload_keys import choose_workload
from harness.errors import RequestError
from harness.execution.experiment import NO_RUNLIST
from harness.execution.predict import ExperimentModel, NotModelledError, experiment_model
from harness.execution.prepare import Plan, make_plan
from harness.inputs.chain import Link
from harness.inputs.draw import Distribution
from harness.measure.pass_model import Ns, PassTimes
from harness.results.record import Record
from harness.units import NS_PER_MS

STRUCTURE = ("columns", "context_limit", "queue_depth", "chain_length", "clock_mhz")
"""Keys of a simulated device that are not fitted; a record's own are used."""
HOST_NOISE, DEVICE_NOISE = 1e-4, 2.5e-3
"""Least relative noise of stages of the host, and of intervals and totals, if passes differ.

Bursts of slow executions move the median of 500 intervals by some tenths of a percent.
"""


@dataclass(frozen=True)
class Run:
    """A record, and the request that it is of on the device to be fitted."""

    record: Record
    plan: Plan

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of its kernels, in order."""
        return self.plan.config.workload.kernels

    @cached_property
    def _submissions(self) -> int:
        config = self.plan.config
        return ceil(config.workload.tiles / config.strategy.batch)

    @cached_property
    def _is_exact(self) -> bool:
        """Whether all passes took the same time, as in virtual time without noise."""
        virtual = self.record.totals is not None and self.record.totals.clock == "virtual"
        return virtual and len(set(self.record.samples.total_ns)) == 1

    @cached_property
    def measured(self) -> dict[str, float]:
        """Measured times by kind, in nanoseconds.

        Stages of the host per submission, the median interval between completions, and the total.
        The median of intervals is that of the usual executions: bursts of slow ones change a total.
        With several columns or kernels the intervals are of several kinds and have no such median.
        """
        totals, config = self.record.totals, self.plan.config
        # `runs_of` refuses records without.
        assert totals is not None
        strategy, times_ns = config.strategy, dict[str, float]()
        if strategy.buffers is Buffers.per_tile:
            times_ns["alloc"] = totals.alloc_ns / self._submissions
        times_ns["write"] = totals.write_ns / self._submissions
        times_ns["read"] = totals.read_ns / self._submissions
        commands = ceil(strategy.batch / self._queue[1])
        # A launch into a full queue waits for the device.
        if strategy.in_flight * commands <= self._queue[0]:
            times_ns["launch"] = totals.launch_ns / self._submissions
        p50_ms = self.record.metrics.get("time/interval_p50_ms")
        whole = config.workload.tiles % strategy.batch == 0
        is_one = len(self.kernels) == 1 and strategy.columns == 1 and config.measure.warmup
        if p50_ms is not None and is_one and whole:
            times_ns["interval"] = p50_ms * NS_PER_MS
        if self._is_exact or "interval" not in times_ns:
            times_ns["total"] = float(totals.makespan_ns)
        return times_ns

    @property
    def _queue(self) -> tuple[int, int]:
        device = self.plan.config.device
        assert isinstance(device, Simulator)
        return device.queue_depth, device.chain_length

    @property
    def total_ns(self) -> float:
        """Makespan of the timed pass."""
        assert self.record.totals is not None
        return float(self.record.totals.makespan_ns)

    @property
    def measured_per_launch(self) -> float:
        """Host time of a launch, with its waits for a place in a queue."""
        assert self.record.totals is not None
        return self.record.totals.launch_ns / self._submissions / len(self.kernels)

    @property
    def measured_per_tile(self) -> float:
        """Time of a pass divided by its tiles: at least the execution on one of the columns."""
        assert self.record.totals is not None
        return self.record.totals.makespan_ns / self.plan.config.workload.tiles

    def least_noise(self, kind: str) -> float:
        """Relative standard deviation that a measured time has at least."""
        if self._is_exact:
            return 0.0
        return DEVICE_NOISE if kind in ("interval", "total") else HOST_NOISE

    def noise(self, kind: str) -> float:
        """Relative standard deviation of a measured time, as far as the record shows it."""
        least, samples = self.least_noise(kind), np.array(self.record.samples.total_ns, float)
        if self._is_exact or kind not in ("interval", "total") or len(samples) < 2:
            return least
        return max(float(samples.std(ddof=1) / np.median(samples)) / sqrt(len(samples)), least)

    def predict(self, numbers: Mapping[str, Ns]) -> dict[str, NDArray[Any]]:
        """Predictions of all kinds of times; numbers: (profiles,) each."""
        model = experiment_model(self.plan, numbers)
        times = self._times(model)
        count = self._submissions
        predicted = {
            "alloc": times.alloc_ns / count,
            "write": times.write_ns / count,
            "read": times.read_ns / count,
            "launch": times.launch_ns / count,
            "total": times.makespan_ns,
        }
        if "interval" in self.measured:
            assert times.intervals_ns is not None
            predicted["interval"] = np.median(times.intervals_ns, axis=0)
        return {kind: np.atleast_1d(each) for kind, each in predicted.items()}

    def _times(self, model: ExperimentModel) -> PassTimes:
        return model.times(with_intervals="interval" in self.measured)


def runs_of(records: Sequence[Record], start: Simulator) -> list[Run]:
    """The requests of records on the start profile; RequestError for what cannot be fitted.

    That are failed runs, records of several kinds of device, full accounting, and batches on a
    pyxrt without runlists.
    """
    template, kinds = load("tracking=off"), {record.device for record in records}
    if len(kinds) > 1:
        raise RequestError(
            f"records of device={' and device='.join(sorted(kinds))}: a profile is of one device; "
            "give records of one"
        )
    # Virtual time is the same on every host.
    hosts = {
        each.environment.host for each in records if each.totals and each.totals.clock != "virtual"
    }
    if len(hosts) > 1:
        raise RequestError(
            f"records of hosts {' and '.join(sorted(hosts))}: a profile is of one device; give "
            "records of one"
        )
    runs = []
    for record in records:
        if not record.ok or record.totals is None:
            raise RequestError(
                f"{record.name}: verdict {record.verdict.value}, without times to fit; give "
                "records with verdict OK of schema 3 or later"
            )
        if NO_RUNLIST in record.label:
            raise RequestError(
                f"{record.name}: its batches were started run by run, which is not modelled; give "
                "records with strategy.batch=1"
            )
        try:
            plan = make_plan(_request(record, template, start))
            experiment_model(plan)
        except NotModelledError as error:
            raise RequestError(f"{record.name}: {error}") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise RequestError(
                f"{record.name}: its configuration is incomplete ({error}); leave it out"
            ) from error
        runs.append(Run(record, plan))
    return runs


def _request(record: Record, template: Config, start: Simulator) -> Config:
    """What a record ran, on the start profile."""
    stored = record.config
    return replace(
        template,
        device=_device(stored["device"], start),
        strategy=record.knobs,
        workload=_workload(stored["workload"]),
        measure=Measure(stored["measure"]["warmup"], len(record.samples.total_ns)),
        verify=Verify[stored["verify"]],
    )


def _device(stored: Mapping[str, Any], start: Simulator) -> Simulator:
    """The start profile with the limits and the clock of the recorded device."""
    own = {key: stored[key] for key in (*STRUCTURE, "timeout_ms") if key in stored}
    # The costs of a recorded simulator must not get into the fit.
    mode = stored.get("power_mode")
    if stored.get("kind") == Simulator.kind and mode:
        own["power_mode"] = PowerMode[mode]
    return replace(start, **own)


def _workload(stored: Mapping[str, Any]) -> Workload:
    links = {name: Link[link] for name, link in (stored.get("links") or {}).items()}
    accounting = Accounting[stored.get("accounting", Accounting.guide.name)]
    distribution = Distribution[stored.get("distribution", Distribution.uniform.name)]
    enumerations = {"links": links, "accounting": accounting, "distribution": distribution}
    return choose_workload({**stored, **enumerations})


def values_of(profile: Simulator, keys: Sequence[str]) -> dict[str, float]:
    """The numbers of a profile by key; a kernel without a figure has none."""
    numbers = dict[str, float]()
    for key in keys:
        name, _, kernel = key.partition(".")
        value = getattr(profile, name)
        if not kernel or kernel in value:
            numbers[key] = value[kernel] if kernel else value
    return numbers


def guess(runs: Sequence[Run], start: Simulator, keys: Sequence[str]) -> dict[str, float]:
    """Values from which the fit begins: those of the start profile, and what single stages show."""
    numbers = dict.fromkeys(keys, 1.0) | values_of(start, keys)
    for key in keys:
        name, _, kernel = key.partition(".")
        if name == "launch_ns":
            numbers[key] = min(run.measured_per_launch for run in runs)
        own = [run.measured_per_tile for run in runs if run.kernels == (kernel,)]
        if kernel and own:
            numbers[key] = 0.9 * min(own)
    return numbers
