"""Kernels, workloads and runs against the peak and the bandwidth of a simulated device's profile.

roofs = Roofs(device, columns=1)
points = [kernel_point(device, load_kernel("attention"), columns=1)]
for each in points:
    print(each.name, each.intensity, each.gops, each.roof(roofs).share)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.config.device import Simulator
from harness.config.execution_time import execution, moved_bytes, own_columns
from harness.errors import RequestError
from harness.kernel import FixedCost, KernelSpec
from harness.kernel.cost import ROWS
from harness.results.record import Record
from harness.results.run_key import kernel_of_run
from harness.units import BYTES_PER_MIB

NEAR = 0.5
"""Share of what is attainable from which the roof limits a point."""
KERNEL, WORKLOAD, RUN = "kernel", "workload", "run"


@dataclass(frozen=True)
class Roofs:
    """The limits of some columns. Rates are in 10^9 a second; None without a figure.

    peaks: operations by element type. bandwidth: bytes in one direction.
    """

    columns: int
    peaks: dict[str, float]
    bandwidth: float | None


@dataclass(frozen=True)
class Point:
    """What a kernel, workload or run does, and how long it takes.

    columns: those that work at the same time. ops, size_bytes: of all its work; bytes in the
    direction in which it moves more; 0 where the kernel declares none. time_ns: its time.
    """

    name: str
    kind: str
    dtype: str
    columns: int
    ops: int
    size_bytes: int
    time_ns: float

    @property
    def intensity(self) -> float | None:
        """Operations for each byte."""
        return self.ops / self.size_bytes if self.ops and self.size_bytes else None

    @property
    def gops(self) -> float | None:
        """10^9 operations a second."""
        return self.ops / self.time_ns if self.ops and self.time_ns else None

    @property
    def gbytes(self) -> float | None:
        """10^9 bytes a second in the direction in which it moves more."""
        return self.size_bytes / self.time_ns if self.time_ns else None


@dataclass(frozen=True)
class Placed:
    """A point under its roofs.

    attainable: the least of the peak and of intensity times bandwidth, in 10^9 operations a second.
    share: of that, what the point attains; without operations, its share of the bandwidth. roof:
    `compute` or `memory`, which of the two is lower. None where a figure is missing.
    """

    point: Point
    peak: float | None
    bandwidth: float | None

    @property
    def attainable(self) -> float | None:
        """See above."""
        limits = [each for each in (self.peak, self._by_memory) if each is not None]
        return min(limits) if limits and self.point.ops else None

    @property
    def _by_memory(self) -> float | None:
        if self.bandwidth is None or self.point.intensity is None:
            return None
        return self.point.intensity * self.bandwidth

    @property
    def share(self) -> float | None:
        """See above."""
        if self.attainable and self.point.gops is not None:
            return self.point.gops / self.attainable
        if self.bandwidth and self.point.gbytes is not None and not self.point.ops:
            return self.point.gbytes / self.bandwidth
        return None

    @property
    def roof(self) -> str | None:
        """See above."""
        by_memory = self._by_memory
        if not self.point.ops:
            return None if self.bandwidth is None else "memory"
        if by_memory is not None and (self.peak is None or by_memory < self.peak):
            return "memory"
        return None if self.peak is None else "compute"

    @property
    def limit(self) -> str | None:
        """The roof, if the point attains NEAR of it or more, else `neither`."""
        if self.roof is None or self.share is None:
            return None
        return self.roof if self.share >= NEAR else "neither"


def roofs_of(device: Simulator, columns: int) -> Roofs:
    """The roofs of some columns of a device, at the H clock of its power mode."""
    memory, rates = device.memory, list[float]()
    if memory.channel_ns_per_mib:
        # Rounded up, as the time of an execution is.
        rates.append(columns * BYTES_PER_MIB / device.scaled(memory.channel_ns_per_mib))
    if memory.array_ns_per_mib:
        rates.append(BYTES_PER_MIB / memory.array_ns_per_mib)
    cores = ROWS * columns
    peaks = {
        dtype: 2 * macs * cores * device.mhz / 1000 for dtype, macs in device.core_macs.items()
    }
    return Roofs(columns, peaks, min(rates, default=None))


def placed(point: Point, device: Simulator) -> Placed:
    """A point under the roofs of its columns."""
    roofs = roofs_of(device, point.columns)
    return Placed(point, roofs.peaks.get(point.dtype), roofs.bandwidth)


def kernel_point(device: Simulator, spec: KernelSpec, columns: int) -> Point:
    """An execution of a kernel on each of `columns` at the same time; RequestError without a time.

    A kernel whose cost declares several columns executes once, on these.
    """
    ops, size_bytes, own = _work(spec)
    exec_ns, _ = execution(device, spec, columns)
    at_once = columns if own == 1 else 1
    return Point(
        spec.name,
        KERNEL,
        dtype_of(spec),
        own * at_once,
        ops * at_once,
        size_bytes * at_once,
        exec_ns,
    )


def _work(spec: KernelSpec) -> tuple[int, int, int]:
    """Operations, bytes and columns of an execution."""
    cost, columns = spec.cost, own_columns(spec)
    declared = 0 if cost is None or isinstance(cost, FixedCost) else cost.ops
    return spec.ops or declared, moved_bytes(spec) * columns, columns


def chain_point(name: str, points: Sequence[Point]) -> Point:
    """A tile that passes through kernels one after the other; of the type of the first."""
    ops = [each.ops for each in points]
    return replace(
        points[0],
        name=name,
        kind=WORKLOAD,
        ops=sum(ops) if all(ops) else 0,
        size_bytes=sum(each.size_bytes for each in points),
        time_ns=sum(each.time_ns for each in points),
    )


def run_point(record: Record, name: str) -> Point:
    """The timed pass of a run, with the host's time; RequestError if it has no tiles of kernels."""
    totals, workload = record.totals, record.config.get("workload", {})
    if not record.ok or totals is None or not totals.makespan_ns:
        raise RequestError(f"{name}: left out: not a right run with a time")
    if record.steps:
        raise RequestError(f"{name}: left out: an encoder, whose kernels differ")
    names = workload.get("chain") or [workload.get("kernel")]
    specs = [kernel_of_run(each, record.kernel_hashes) for each in names]
    works = [_work(each) for each in specs]
    ops = [each for each, _, _ in works]
    return Point(
        name,
        RUN,
        dtype_of(specs[0]),
        max(totals.columns, *(columns for _, _, columns in works)),
        sum(ops) * totals.tiles if all(ops) else 0,
        sum(each for _, each, _ in works) * totals.tiles,
        totals.makespan_ns,
    )


def dtype_of(spec: KernelSpec) -> str:
    """The type by which a kernel computes: that of its cost, else of its first input."""
    if spec.cost is not None and not isinstance(spec.cost, FixedCost):
        return spec.cost.dtype
    return (spec.parts or spec.output.parts)[0].dtype
