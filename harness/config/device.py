"""What a device is: the profile the simulator charges by, or the way to real hardware."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from harness.config.setting import MISSING, Schema, setting
from harness.errors import RequestError, nearest
from harness.units import BYTES_PER_MIB, NS_PER_S

MOST_NS = 100 * NS_PER_S
"""Of one cost: ten million tiles of it still fit the clock's 64 bits."""

MOST_COUNT = 4096
MOST_DEVICES = 255


@dataclass(frozen=True)
class Device(Schema):
    """What both kinds of device need."""

    group = "device."

    kind: str = setting(MISSING, "simulator or hardware; chosen by device=<kind>")
    kernels_dir: str = setting(
        "kernels/build", "folder of <kernel>.xclbin and <kernel>.insts.bin, which make the kernels"
    )
    timeout_ms: int = setting(
        5_000,
        "time that a submission may take; a single run is given up then, a runlist judged when it "
        "has ended",
        least=1,
        unit="ms",
    )
    columns: int = setting(
        4,
        "usable columns; a Phoenix NPU has five, of which column 0 has no shim DMA (mlir-aie "
        "#2371)",
        least=1,
        most=MOST_COUNT,
    )
    context_limit: int = setting(
        6,
        "hardware contexts at once, over all processes (xdna-driver, npu1_regs.c)",
        least=1,
        most=MOST_COUNT,
    )


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


def _cost(meaning: str, default: int = 0) -> Any:
    return setting(default, meaning, least=0, most=MOST_NS, unit="ns")


def _executions(meaning: str, remedy: str = "executions count from 0") -> Any:
    return setting(list, meaning, least=0, remedy=remedy)


@dataclass(frozen=True)
class Hardware(Device):
    """A real NPU through pyxrt."""

    kind: str = setting("hardware", "hardware")
    index: int = setting(
        0, "which device, as `pyxrt.device(index)` counts", least=0, most=MOST_DEVICES
    )
    xclbin: dict[str, str] = setting(
        dict, "by kernel: path of an xclbin that is not in kernels_dir under the kernel's name"
    )
    insts: dict[str, str] = setting(
        dict,
        "by kernel: path of instructions that are not beside the xclbin; binary or hexadecimal",
    )
    power_mode: PowerMode | None = setting(
        None, "requested through xrt-smi for the time of the run; null leaves the mode as it is"
    )


@dataclass(frozen=True)
class Noise(Schema):
    """Random factors on the time of executions and completions.

    Shares and sizes after published samples of Phoenix (Unicorn-Amanuensis,
    performance_benchmarks.json): see harness/sim/noise.py.
    """

    group = "device.noise."

    enabled: bool = setting(False, "whether times vary at all")
    seed: int = setting(0, "seed of the factors", least=0)
    tight_pct: float = setting(
        2.0,
        "median absolute deviation of the tight mode, of its centre",
        least=0,
        most=20,
        unit="%",
    )
    fast_pct: float = setting(
        3.0, "share of executions that are fast outliers", least=0, most=20, unit="%"
    )
    burst_pct: float = setting(
        18.0, "share of executions in bursts of slow ones", least=0, most=50, unit="%"
    )


@dataclass(frozen=True)
class Faults(Schema):
    """What goes wrong, by the number of the execution it happens to, from 0 since the device was
    opened.
    """

    group = "device.faults."

    hang: list[int] = _executions("executions that never end; the watchdog times them out")
    error: list[int] = _executions("executions that end in state ERROR")
    abort: list[int] = _executions("executions that end in state ABORT")
    corrupt: list[int] = _executions(
        "executions whose output has a bit flipped, if kernels compute (verify=all)"
    )
    slow: list[int] = _executions("executions that take `slow_factor` times as long")
    slow_factor: int = setting(
        20, "how many times as long a slow execution takes", least=1, most=MOST_COUNT
    )
    lost: int = setting(
        -1,
        "the execution at whose begin the device is lost; -1: never",
        least=-1,
        remedy="-1 is never",
    )
    refuse_context: list[int] = _executions("openings of a context that are refused, from 0")


@dataclass(frozen=True)
class Simulator(Device):
    """Costs, limits, noise and faults of a simulated NPU.

    Costs are charged on the host's clock (open, alloc, write, read, launch), on the column's (cold
    start, resume, exec, chain command), or between them (completion).
    """

    kind: str = setting("simulator", "simulator")
    clock: ClockKind = setting(
        ClockKind.virtual, "virtual: time is computed; wall: the simulator waits to real time"
    )
    hazards: Hazards = setting(
        Hazards.error,
        "a hazard of the buffers: error fails the run, report reports it, off: no checks",
    )
    power_mode: PowerMode = setting(PowerMode.default, "mode whose clock of `clock_mhz` is used")
    device_open_ns: int = _cost("opening the device")
    context_open_ns: int = _cost("opening a hardware context and loading it")
    cold_start_ns: int = _cost("first execution on a context, beyond its own time")
    alloc_ns: int = _cost("allocating a bo")
    write_fixed_ns: int = _cost("a sync to the device, whatever its size")
    read_fixed_ns: int = _cost("a sync from the device, whatever its size")
    sync_ns_per_mib: int = setting(0, "a sync, by its size", least=0, most=MOST_NS, unit="ns/MiB")
    launch_ns: int = _cost("starting a run or a runlist")
    completion_ns: int = _cost("from the end of an execution until the host can see it")
    chain_command_ns: int = _cost("each command of a runlist after the first")
    poll_ns: int = setting(
        100, "a repeated look at a run's state", least=1, most=MOST_COUNT, unit="ns"
    )
    exec_ns: dict[str, int] = setting(
        dict, "by kernel: one execution at calibrated_mhz", least=0, most=MOST_NS, unit="ns"
    )
    unknown_exec_ns: int = _cost("one execution of a kernel that has no spec", 100_000)
    clock_mhz: dict[str, int] = setting(
        dict,
        "by power mode: the clock, which executions scale with",
        least=1,
        most=MOST_COUNT,
        unit="MHz",
    )
    calibrated_mhz: int = setting(
        847, "clock that exec_ns is given at", least=1, most=MOST_COUNT, unit="MHz"
    )
    idle_suspend_ns: int = _cost("idle time after which the device sleeps", 5_000_000_000)
    resume_ns: int = _cost("waking the device")
    watchdog_ns: int = _cost(
        "longest execution; one that takes longer is timed out and its context made anew",
        2_000_000_000,
    )
    queue_depth: int = setting(4, "commands in a context's queue", least=1, most=MOST_COUNT)
    chain_length: int = setting(
        24, "commands of a runlist that are submitted at once", least=1, most=MOST_COUNT
    )
    heap_mib: int = setting(64, "memory for instructions", least=0, most=MOST_NS, unit="MiB")
    xclbins: dict[str, str] = setting(
        dict, "by pattern of an xclbin's path: the kernel that it stands for; the first that fits"
    )
    noise: Noise = setting(Noise, "random factors on times")
    faults: Faults = setting(Faults, "what goes wrong")
    sources: dict[str, str] = setting(dict, "by number: where it comes from")

    def __post_init__(self) -> None:
        super().__post_init__()
        for mode in self.clock_mhz:
            if mode not in PowerMode.__members__:
                raise RequestError(
                    f"device.clock_mhz.{mode}: no power mode; "
                    f"{nearest(mode, PowerMode.__members__)}"
                )

    def scaled(self, exec_ns: int) -> int:
        """An execution at the clock of the power mode, rounded.

        The calibrated clock where that has none.
        """
        mhz = self.clock_mhz.get(self.power_mode.value, self.calibrated_mhz)
        return (exec_ns * self.calibrated_mhz + mhz // 2) // mhz

    def exec_of(self, kernel: str) -> int:
        """Nanoseconds of one execution of `kernel`.

        RequestError where the profile has no figure for it.
        """
        if kernel not in self.exec_ns:
            raise RequestError(
                f"device.exec_ns: no figure for kernel {kernel}; {nearest(kernel, self.exec_ns)}; "
                f"give one with +device.exec_ns.{kernel}=<nanoseconds>"
            )
        return self.scaled(self.exec_ns[kernel])

    def sync_ns(self, fixed_ns: int, size_bytes: int) -> int:
        """What a sync of `size_bytes` costs the host, rounded to whole nanoseconds."""
        return fixed_ns + (size_bytes * self.sync_ns_per_mib + BYTES_PER_MIB // 2) // BYTES_PER_MIB
