"""Predicts the time of an experiment from its configuration, with `harness.measure.model`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.config.device import ClockKind, Simulator
from harness.config.disturbance import Faults
from harness.config.execution_time import execution
from harness.config.other_numbers import with_numbers
from harness.config.schema import Config, Verify
from harness.config.strategy import Buffers, Strategy
from harness.device.xrt.session import WAKE_AFTER_NS
from harness.errors import RequestError
from harness.execution.prepare import Plan, make_plan
from harness.inputs.chain import Chain
from harness.kernel import LINE_BYTES, Buffer, KernelSpec
from harness.measure.model import pass_times
from harness.measure.pass_model import Ns, PassModel, PassTimes, Station
from harness.units import ms_to_ns

INSTRUCTION_BYTES = 4
"""Size of the instructions on a simulated device."""


class NotModelledError(RequestError):
    """The model does not cover a request."""


@dataclass(frozen=True)
class ExperimentModel:
    """The passes of an experiment.

    timed: a timed pass. verification: the pass with poisoned outputs; None with verify=off.
    between_ns: from the end of a pass to the begin of the next. is_cold: every timed pass has
    contexts of its own. passes: number of warm-up passes and of timed ones. timeout_ns: longest
    wait. watchdog_ns: an execution of this length fails; 0: none does.
    """

    timed: PassModel
    verification: PassModel | None
    between_ns: Ns
    is_cold: bool
    passes: tuple[int, int]
    timeout_ns: int
    watchdog_ns: Ns

    def times(self, with_intervals: bool = False) -> PassTimes:
        """The times of the median timed pass; with_intervals: as in `pass_times`.

        NotModelledError if a pass may begin on a suspended device more than a second after the one
        before it: the harness then warms the device up.
        """
        may_suspend = self._may_suspend()
        if not may_suspend and not self.timed.takes_turns:
            idle_ns = None if self.is_cold else 0
            return pass_times(self.timed, idle_ns, self.is_cold, with_intervals)
        if may_suspend and np.any(self.between_ns >= WAKE_AFTER_NS):
            raise NotModelledError(
                "device.idle_suspend_ns: the device would suspend between two passes, and the "
                "harness would warm it up; this is not modelled"
            )
        return self._median()

    def completes(self, times: PassTimes) -> Any:
        """Whether no wait and no execution is too long: bool, or (profiles,) bool."""
        chained = min(self.timed.batch, self.timed.tiles, self.timed.chain_length) > 1
        right = times.longest_wait_ns <= self.timeout_ns
        for each in self.timed.stations:
            longest_ns = each.exec_ns + (self.timed.command_ns if chained else 0)
            right = right & ((self.watchdog_ns == 0) | (longest_ns < self.watchdog_ns))
        return right

    def _may_suspend(self) -> bool:
        # Verification stages longer than a timed pass, and its end is of the same kind.
        model = self.verification or self.timed
        # The gap between two passes begins with the end of the first.
        return model.may_suspend(self.between_ns + model.completion_ns + _reads(model))

    def _median(self) -> PassTimes:
        """All passes one after the other: each begins where the one before it left the device."""
        warmup, repeats = self.passes
        idle_ns: Ns | None = None
        loaded: Ns | None = None
        if self.verification:
            times = pass_times(self.verification, None, is_cold=True)
            idle_ns, loaded = times.idle_ns + self.between_ns, times.loaded
        timed = list[PassTimes]()
        for number in range(warmup + repeats):
            is_cold = self.is_cold or idle_ns is None
            timed.append(pass_times(self.timed, idle_ns, is_cold, loaded=loaded))
            after_ns, left = timed[-1].idle_ns + self.between_ns, timed[-1].loaded
            if number and np.all(after_ns == idle_ns) and np.all(left == loaded):
                break
            idle_ns, loaded = after_ns, left
        # After the break, all further passes are as the last one.
        timed += [timed[-1]] * (warmup + repeats - len(timed))
        return _median_of(timed[warmup:])


def _median_of(passes: Sequence[PassTimes]) -> PassTimes:
    """For each profile, the (lower) median pass by its makespan; without intervals_ns."""
    makespans = np.array([each.makespan_ns for each in passes])
    order = np.argsort(makespans, axis=0, kind="stable")[(len(passes) - 1) // 2]
    if not order.ndim:
        return passes[int(order)]
    every = np.arange(len(order))
    columns = {
        name: np.stack([vars(each)[name] for each in passes])[order, ..., every].T
        for name in vars(passes[0])
        if name != "intervals_ns"
    }
    return PassTimes(**columns)


def predicted_ns(config: Config) -> int:
    """The makespan of the median timed pass; NotModelledError if the model does not cover it."""
    model = experiment_model(make_plan(config))
    times = model.times()
    if not model.completes(times):
        raise NotModelledError("an execution or a wait takes longer than the device allows")
    return int(times.makespan_ns)


def experiment_model(plan: Plan, numbers: Mapping[str, Ns] | None = None) -> ExperimentModel:
    """The model of a request.

    numbers: values in place of the profile's, by key below `device` (`exec_ns.attention`), each an
    integer or (profiles,) int64. NotModelledError with what is not modelled: real time, noise,
    faults, and encoders with full accounting.
    """
    config = plan.config
    device = _modelled(config)
    if not isinstance(plan.kernels, Chain):
        raise NotModelledError(
            "workload.accounting=full: the kernels of an encoder open contexts in turns and most "
            "calls are extrapolated; this is not modelled"
        )
    device = with_numbers(device, numbers or {})
    builder = _Builder(plan.kernels, plan.columns, config.strategy, device, config.workload.tiles)
    is_checked, is_cold = config.verify is not Verify.off, not config.measure.warmup
    return ExperimentModel(
        timed=builder.model(),
        verification=builder.model(poisons=True) if is_checked else None,
        between_ns=builder.poison_ns() * is_checked + builder.opening_ns() * is_cold,
        is_cold=is_cold,
        passes=(config.measure.warmup, config.measure.fewest),
        timeout_ns=ms_to_ns(config.device.timeout_ms),
        watchdog_ns=device.watchdog_ns,
    )


def _modelled(config: Config) -> Simulator:
    """The profile of a request; NotModelledError if its times do not follow from the profile."""
    device = config.device
    if not isinstance(device, Simulator):
        raise NotModelledError(
            f"device={device.kind}: the model needs the profile of a simulated device"
        )
    if device.clock is ClockKind.wall:
        raise NotModelledError("device.clock=wall: real time is not modelled")
    if device.noise.enabled:
        raise NotModelledError("device.noise.enabled=true: noise is not modelled")
    if device.faults != Faults(slow_factor=device.faults.slow_factor):
        raise NotModelledError("device.faults: faults are not modelled")
    return device


@dataclass(frozen=True)
class _Builder:
    """Converts the costs of a profile into those of a pass."""

    chain: Chain
    columns: tuple[int, ...]
    strategy: Strategy
    device: Simulator
    tiles: int

    def model(self, poisons: bool = False) -> PassModel:
        """The model of a pass; poisons: every output bo is filled before it is launched."""
        device, strategy = self.device, self.strategy
        return PassModel(
            stations=tuple(self._station(index, poisons) for index in range(len(self.columns))),
            tiles=self.tiles,
            batch=strategy.batch,
            in_flight=strategy.in_flight,
            slots=strategy.slots,
            alloc_ns=0 if self._pooled else self._bos * device.alloc_ns,
            launch_ns=device.launch_ns,
            completion_ns=device.completion_ns,
            command_ns=device.chain_command_ns,
            cold_ns=device.cold_start_ns,
            switch_ns=device.switch_ns,
            resume_ns=device.resume_ns,
            suspend_ns=device.idle_suspend_ns,
            queue_depth=device.queue_depth,
            chain_length=device.chain_length,
        )

    @property
    def _pooled(self) -> bool:
        return self.strategy.buffers is Buffers.pooled

    @property
    def _bos(self) -> int:
        return sum(len(spec.buffers) for spec in self.chain.kernels)

    def _counts(self) -> list[int]:
        """The sizes of the submissions of a pass in tiles: of the full ones, and of the last."""
        full, tail = divmod(self.tiles, self.strategy.batch)
        return [self.strategy.batch] * bool(full) + [tail] * bool(tail)

    def _station(self, index: int, poisons: bool) -> Station:
        spec, first = self.chain.kernels[index], sum(self.columns[:index])
        syncs, reads = dict[int, tuple[Ns, ...]](), dict[int, tuple[Ns, ...]]()
        for count in self._counts():
            syncs[count] = tuple(self._write(each, count) for each in spec.inputs)
            if poisons:
                syncs[count] = *self._poison(spec, count), *syncs[count]
            sizes = [each.stride_bytes * count for each in spec.outputs]
            reads[count] = tuple(self._sync(False, each) for each in sizes)
        exec_ns, slowdowns = execution(self.device, spec, sum(self.columns))
        return Station(
            # Free columns first, then those with the fewest contexts (`Machine.open_context`).
            tuple((first + each) % self.device.columns for each in range(self.columns[index])),
            exec_ns,
            write_ns={count: sum(each) for count, each in syncs.items()},
            read_ns={count: sum(each) for count, each in reads.items()},
            slowdowns=slowdowns,
            syncs_ns=syncs,
            reads_ns=reads,
        )

    def _poison(self, spec: KernelSpec, count: int) -> list[Ns]:
        """Filling each output bo of a submission; an inout bo keeps its input."""
        poisoned = [each for each in spec.outputs if not each.is_input]
        return [self._sync(True, each.stride_bytes * count) for each in poisoned]

    def _write(self, buffer: Buffer, count: int) -> Ns:
        """Staging of an input bo, as `XrtSlot` syncs it."""
        size_bytes = buffer.stride_bytes * count
        if self.strategy.resident:
            if not buffer.varying_bytes:
                return 0
            size_bytes -= buffer.stride_bytes - buffer.varying_bytes
            size_bytes = -(-size_bytes // LINE_BYTES) * LINE_BYTES
        return self._sync(True, size_bytes)

    def _sync(self, to_device: bool, size_bytes: int) -> Ns:
        device = self.device
        fixed_ns = device.write_fixed_ns if to_device else device.read_fixed_ns
        return device.sync_ns(fixed_ns, size_bytes)

    def poison_ns(self) -> Ns:
        """Filling the output bos of every pooled slot before a pass."""
        batch, total = self.strategy.batch, 0
        if not self._pooled:
            return total
        slots = min(self.strategy.slots, -(-self.tiles // batch))
        for spec in self.chain.kernels:
            # The last slot may have the submission with fewer tiles.
            last = min(batch, self.tiles - (slots - 1) * batch)
            total = total + (slots - 1) * sum(self._poison(spec, batch))
            total = total + sum(self._poison(spec, last))
        return total

    def opening_ns(self) -> Ns:
        """Opening the contexts and allocating the slots of a pass."""
        device = self.device
        load_ns = device.alloc_ns + self._sync(True, INSTRUCTION_BYTES)
        opening = sum(self.columns) * (device.context_open_ns + load_ns)
        if not self._pooled:
            return opening
        slots = min(self.strategy.slots, -(-self.tiles // self.strategy.batch))
        opening = opening + slots * self._bos * device.alloc_ns
        if self.strategy.resident:
            buffers = [buffer for spec in self.chain.kernels for buffer in spec.inputs]
            batch = self.strategy.batch
            opening = opening + slots * sum(
                self._sync(True, each.stride_bytes * batch) for each in buffers
            )
        return opening


def _reads(model: PassModel) -> Ns:
    """Collecting every submission in flight once, at the end of a pass."""
    read_ns = sum(np.maximum.reduce(list(each.read_ns.values())) for each in model.stations)
    return model.longest_syncs_ns(model.in_flight * read_ns)
