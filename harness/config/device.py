"""What a device is: the profile the simulator charges by, or the way to real hardware."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum

from harness.errors import RequestError, check_range, nearest
from harness.units import BYTES_PER_MIB, NS_PER_S

MOST_NS = 100 * NS_PER_S
"""Of one cost: ten million tiles of it still fit the clock's 64 bits."""

MOST_COUNT = 4096
MOST_DEVICES = 255


@dataclass(frozen=True)
class Device:
    """What both kinds of device need.

    columns: usable ones; five on a Phoenix NPU, of which column 0 has no shim DMA (mlir-aie #2371). context_limit:
    contexts at once, over all processes (xdna-driver, npu1_regs.c). timeout_ms: how
    long a submission may take; a single run is given up then, a runlist judged when it has ended.
    """

    kind: str
    kernels_dir: str = "kernels/build"
    timeout_ms: int = 5_000
    columns: int = 4
    context_limit: int = 6

    def __post_init__(self) -> None:
        check_range("device.columns", self.columns, 1, MOST_COUNT)
        check_range("device.context_limit", self.context_limit, 1, MOST_COUNT)
        check_range("device.timeout_ms", self.timeout_ms, 1)


class ClockKind(Enum):
    """How simulated time passes: computed, or waited for."""

    virtual = "virtual"
    wall = "wall"


class Hazards(Enum):
    """What a hazard of the buffers does: fail the run, be told only, or not be looked for."""

    error = "error"
    report = "report"
    off = "off"


class PowerMode(Enum):
    """Power modes of `xrt-smi configure --pmode`."""

    default = "default"
    powersaver = "powersaver"
    balanced = "balanced"
    performance = "performance"
    turbo = "turbo"


@dataclass(frozen=True)
class Hardware(Device):
    """A real NPU through pyxrt.

    index: which device, as `pyxrt.device(index)` counts. xclbin, insts: paths of kernels' files that are not
    `<kernels_dir>/<kernel>.xclbin` and `.insts.bin`, by kernel. power_mode: requested through xrt-smi for the time of
    the run; None leaves it as it is.
    """

    kind: str = "hardware"
    index: int = 0
    xclbin: dict[str, str] = field(default_factory=dict)
    insts: dict[str, str] = field(default_factory=dict)
    power_mode: PowerMode | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("device.index", self.index, 0, MOST_DEVICES)


@dataclass(frozen=True)
class Noise:
    """Random factors on the time of executions and completions, off unless `enabled`.

    A tight mode whose median absolute deviation is `tight_pct` of its centre; `fast_pct` of the executions fast
    outliers; bursts of slow ones covering `burst_pct`. Shares and sizes after published samples of Phoenix
    (Unicorn-Amanuensis, performance_benchmarks.json): see harness/sim/noise.py.
    """

    enabled: bool = False
    seed: int = 0
    tight_pct: float = 2.0
    fast_pct: float = 3.0
    burst_pct: float = 18.0

    def __post_init__(self) -> None:
        check_range("device.noise.seed", self.seed, 0)
        check_range("device.noise.tight_pct", self.tight_pct, 0, 20)
        check_range("device.noise.fast_pct", self.fast_pct, 0, 20)
        check_range("device.noise.burst_pct", self.burst_pct, 0, 50)


@dataclass(frozen=True)
class Faults:
    """What goes wrong, by the number of the execution it happens to, counted from 0 since the device was opened.

    hang: never ends; the watchdog times it out. error: ends in state ERROR. abort: ends in state ABORT. corrupt: its
    output has a bit flipped, if kernels compute (verify=all). slow: takes `slow_factor` times as long. lost: the device
    is lost when that execution begins (-1: never). refuse_context: which openings of a context are refused, counted
    from 0.
    """

    hang: list[int] = field(default_factory=list)
    error: list[int] = field(default_factory=list)
    abort: list[int] = field(default_factory=list)
    corrupt: list[int] = field(default_factory=list)
    slow: list[int] = field(default_factory=list)
    slow_factor: int = 20
    lost: int = -1
    refuse_context: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for item in ("hang", "error", "abort", "corrupt", "slow", "refuse_context"):
            for number in getattr(self, item):
                check_range(f"device.faults.{item}", number, 0, remedy="executions count from 0")
        check_range("device.faults.slow_factor", self.slow_factor, 1, MOST_COUNT)
        check_range("device.faults.lost", self.lost, -1, remedy="-1 is never")


@dataclass(frozen=True)
class Simulator(Device):
    """Costs, limits, noise and faults of a simulated NPU; `sources` says for each number where it comes from.

    Costs are charged on the host's clock (open, alloc, write, read, launch), on the column's (cold start, resume,
    exec, chain command), or between them (completion: end of execution until the host can see it). A sync costs its
    fixed part plus its bytes times `sync_ns_per_mib` / 2^20. `exec_ns`: one execution of each kernel at the
    calibrated clock; `clock_mhz` of the power mode scales it. `unknown_exec_ns`: of a kernel that nobody described.
    `watchdog_ns`: an execution longer than that is timed out and its context made anew. `xclbins`: patterns of
    paths, and the kernel that an xclbin with such a path stands for. `hazards`: whether the use of buffers is checked.
    """

    kind: str = "simulator"
    clock: ClockKind = ClockKind.virtual
    hazards: Hazards = Hazards.error
    power_mode: PowerMode = PowerMode.default
    device_open_ns: int = 0
    context_open_ns: int = 0
    cold_start_ns: int = 0
    alloc_ns: int = 0
    write_fixed_ns: int = 0
    read_fixed_ns: int = 0
    sync_ns_per_mib: int = 0
    launch_ns: int = 0
    completion_ns: int = 0
    chain_command_ns: int = 0
    poll_ns: int = 100
    exec_ns: dict[str, int] = field(default_factory=dict)
    unknown_exec_ns: int = 100_000
    clock_mhz: dict[str, int] = field(default_factory=dict)
    calibrated_mhz: int = 847
    idle_suspend_ns: int = 5_000_000_000
    resume_ns: int = 0
    watchdog_ns: int = 2_000_000_000
    queue_depth: int = 4
    chain_length: int = 24
    heap_mib: int = 64
    xclbins: dict[str, str] = field(default_factory=dict)
    noise: Noise = field(default_factory=Noise)
    faults: Faults = field(default_factory=Faults)
    sources: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for item in fields(self):
            if item.name.endswith(("_ns", "_mib")) and item.name != "exec_ns":
                check_range(f"device.{item.name}", getattr(self, item.name), 0, MOST_NS)
        for kernel, exec_ns in self.exec_ns.items():
            check_range(f"device.exec_ns.{kernel}", exec_ns, 0, MOST_NS)
        for name in ("queue_depth", "chain_length", "calibrated_mhz", "poll_ns"):
            check_range(f"device.{name}", getattr(self, name), 1, MOST_COUNT)
        for mode, mhz in self.clock_mhz.items():
            if mode not in PowerMode.__members__:
                raise RequestError(
                    f"device.clock_mhz.{mode}: no power mode; {nearest(mode, PowerMode.__members__)}"
                )
            check_range(f"device.clock_mhz.{mode}", mhz, 1, MOST_COUNT)

    def scaled(self, exec_ns: int) -> int:
        """An execution at the clock of the power mode, rounded; the calibrated clock where that has none."""
        mhz = self.clock_mhz.get(self.power_mode.value, self.calibrated_mhz)
        return (exec_ns * self.calibrated_mhz + mhz // 2) // mhz

    def exec_of(self, kernel: str) -> int:
        """Nanoseconds of one execution of `kernel`; RequestError where the profile has no figure for it."""
        if kernel not in self.exec_ns:
            raise RequestError(
                f"device.exec_ns: no figure for kernel {kernel}; {nearest(kernel, self.exec_ns)}; "
                f"give one with +device.exec_ns.{kernel}=<nanoseconds>"
            )
        return self.scaled(self.exec_ns[kernel])

    def sync_ns(self, fixed_ns: int, size_bytes: int) -> int:
        """What a sync of `size_bytes` costs the host, rounded to whole nanoseconds."""
        return fixed_ns + (size_bytes * self.sync_ns_per_mib + BYTES_PER_MIB // 2) // BYTES_PER_MIB
