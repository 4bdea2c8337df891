"""The device group: the simulator's costs, limits and faults; files of an NPU; a CPU's compiler."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from enum import Enum
from typing import Any, ClassVar

from harness.config.arithmetic import GemmBfloat16, GemmInt8
from harness.config.disturbance import MOST_COUNT, Faults, Noise
from harness.config.generation import Generation
from harness.config.setting import Schema, setting
from harness.config.shared_memory import SharedMemory
from harness.errors import RequestError, nearest
from harness.units import BYTES_PER_MIB, NS_PER_S

MOST_NS = 100 * NS_PER_S
"""Largest cost of one call: ten million tiles of it still fit the 64 bits of the clock."""
MOST_DEVICES = 255


@dataclass(frozen=True)
class Device(Schema):
    """Settings of every kind of device."""

    group = "device."
    backend: ClassVar[str] = ""
    """Name of the module that opens the device (`harness.device.open`)."""

    kind: str = setting(MISSING, "simulator, hardware or cpu; chosen by device=<kind>")
    # Longer than the driver's watchdog (2 s; xdna-driver, aie2_ctx.c), whose final state says more
    # about a hang than a timeout does.
    timeout_ms: int = setting(
        5_000,
        "longest time of a submission; after it a single run fails at once, and a runlist when it "
        "has ended",
        least=1,
        unit="ms",
    )
    columns: int = setting(
        4,
        "usable columns; a Phoenix NPU has five, but column 0 has no shim DMA (mlir-aie #2371)",
        least=1,
        most=MOST_COUNT,
    )
    context_limit: int = setting(
        6,
        "hardware contexts at once, over all processes (xdna-driver, npu1_regs.c)",
        least=1,
        most=MOST_COUNT,
    )

    @property
    def hazards_fail(self) -> bool:
        """Whether a hazard that the device reports fails the run."""
        return True

    @property
    def is_exact(self) -> bool:
        """Whether times do not vary: computed time without noise."""
        return False

    @property
    def power_mode_to_hold(self) -> PowerMode | None:
        """The power mode that a run requests and restores; None leaves the mode as it is."""
        return None


@dataclass(frozen=True)
class Npu(Device):
    """Settings of an NPU, simulated or real."""

    kernels_dir: str = setting(
        "kernels/build",
        "folder of <kernel>.xclbin and <kernel>.insts.bin, as `make -C kernels` writes them",
    )


class ClockKind(Enum):
    """How simulated time passes: it is computed, or the simulator waits in real time."""

    virtual = "virtual"
    wall = "wall"


class Hazards(Enum):
    """Effect of a hazard: it fails the run, it is reported only, or there are no checks."""

    error = "error"
    report = "report"
    off = "off"


class PowerMode(Enum):
    """The power modes of `xrt-smi configure --pmode`."""

    default = "default"
    powersaver = "powersaver"
    balanced = "balanced"
    performance = "performance"
    turbo = "turbo"


def _cost(meaning: str, default: int = 0) -> Any:
    return setting(default, meaning, least=0, most=MOST_NS, unit="ns")


@dataclass(frozen=True)
class Hardware(Npu):
    """A real NPU through pyxrt."""

    backend = "harness.device.xrt.hardware"

    kind: str = setting("hardware", "hardware")
    index: int = setting(
        0, "number of the device, as in `pyxrt.device(index)`", least=0, most=MOST_DEVICES
    )
    xclbin: dict[str, str] = setting(
        dict, "by kernel: path of an xclbin that is not in kernels_dir under the kernel's name"
    )
    insts: dict[str, str] = setting(
        dict,
        "by kernel: path of instructions that are not beside the xclbin; binary or hexadecimal",
    )
    power_mode: PowerMode | None = setting(
        None, "mode to request through xrt-smi during the run; null leaves the mode as it is"
    )

    @property
    def power_mode_to_hold(self) -> PowerMode | None:
        """`power_mode`."""
        return self.power_mode


@dataclass(frozen=True)
class Cpu(Device):
    """This machine's processor: the kernels' C++ on worker threads, a thread per column."""

    backend = "harness.device.cpu.backend"

    kind: str = setting("cpu", "cpu")
    timeout_ms: int = setting(
        5_000, "time that a submission may take; the run fails then", least=1, unit="ms"
    )
    columns: int = setting(
        4,
        "most worker threads of a kernel, one per column; more than the processor has cores share "
        "them",
        least=1,
        most=MOST_COUNT,
    )
    context_limit: int = setting(
        64, "worker threads at once, over all kernels", least=1, most=MOST_COUNT
    )
    compiler: str = setting("c++", "C++ compiler: its name on PATH, or its path")
    flags: str = setting("-O3 -march=native", "the compiler's flags for the kernels")


@dataclass(frozen=True)
class Simulator(Npu):
    """Costs, limits, noise and faults of a simulated NPU.

    Costs take time of the host (open, alloc, write, read, launch) or of the columns (cold start,
    switch, resume, exec, chain command), or pass between the two (completion).
    """

    backend = "harness.device.xrt.simulated"

    kind: str = setting("simulator", "simulator")
    profile: str = setting("", "name of the machine that these numbers describe")
    generation: Generation = setting(
        Generation.npu1, "NPU that programs see: npu1 (Phoenix, Hawk Point) or npu4 (Strix)"
    )
    clock: ClockKind = setting(
        ClockKind.virtual,
        "virtual: time is computed; wall: the simulator sleeps and spins to real time",
    )
    hazards: Hazards = setting(
        Hazards.error,
        "a hazard of the buffers: error fails the run, report reports it, off: no checks",
    )
    power_mode: PowerMode = setting(PowerMode.default, "mode whose clock in `clock_mhz` is used")
    device_open_ns: int = _cost("opening the device")
    context_open_ns: int = _cost("opening a hardware context and loading it")
    cold_start_ns: int = _cost("extra time of the first execution on a context")
    switch_ns: int = _cost("loading a context again, where contexts take turns on the same columns")
    alloc_ns: int = _cost("allocating a bo")
    write_fixed_ns: int = _cost("fixed part of a sync to the device")
    read_fixed_ns: int = _cost("fixed part of a sync from the device")
    sync_ns_per_mib: int = setting(
        0,
        "part of a sync, in either direction, that grows with its size",
        least=0,
        most=MOST_NS,
        unit="ns/MiB",
    )
    launch_ns: int = _cost("starting a run or a runlist")
    completion_ns: int = _cost("from the end of an execution until the host can see it")
    chain_command_ns: int = _cost("each command of a runlist after the first")
    poll_ns: int = setting(
        100, "a repeated query of a run's state", least=1, most=MOST_COUNT, unit="ns"
    )
    exec_ns: dict[str, int] = setting(
        dict, "by kernel: one execution at calibrated_mhz", least=0, most=MOST_NS, unit="ns"
    )
    unknown_exec_ns: int = _cost("one execution of a kernel that has no spec", 100_000)
    clock_mhz: dict[str, int] = setting(
        dict,
        "by power mode: frequency of the H clock; execution times scale with it",
        least=1,
        most=MOST_COUNT,
        unit="MHz",
    )
    calibrated_mhz: int = setting(
        1800, "H clock at which exec_ns holds", least=1, most=MOST_COUNT, unit="MHz"
    )
    idle_suspend_ns: int = _cost("idle time after which the device suspends", 5_000_000_000)
    resume_ns: int = _cost("resuming the suspended device")
    watchdog_ns: int = _cost(
        "longest execution; a longer one ends in state TIMEOUT, and its context is reset; 0: no "
        "watchdog",
        2_000_000_000,
    )
    queue_depth: int = setting(
        4, "commands that the queue of a context holds", least=1, most=MOST_COUNT
    )
    chain_length: int = setting(
        24, "most executions of a runlist in one command", least=1, most=MOST_COUNT
    )
    heap_mib: int = setting(64, "memory for instructions", least=0, most=MOST_NS, unit="MiB")
    timed_waits: bool = setting(False, "run.wait(ms) that times out returns TIMEOUT, else raises")
    spoils_failed: bool = setting(True, "a run that fails loses its arguments")
    xclbins: dict[str, str] = setting(
        dict, "by pattern of an xclbin's name: kernel to simulate for it; the first match counts"
    )
    core_macs: dict[str, int] = setting(
        dict,
        "by element type: multiply-accumulates of a core in a cycle, for peaks",
        least=1,
        most=MOST_COUNT,
    )
    gemm_int8: GemmInt8 = setting(GemmInt8, "products of int8 by shape")
    gemm_bfloat16: GemmBfloat16 = setting(GemmBfloat16, "products of bfloat16 by shape")
    memory: SharedMemory = setting(SharedMemory, "what host and columns share: bandwidth, speeds")
    noise: Noise = setting(Noise, "random factors on times")
    faults: Faults = setting(Faults, "faults to inject")
    sources: dict[str, str] = setting(dict, "source of each value, by key of this profile")

    def __post_init__(self) -> None:
        super().__post_init__()
        for mode in self.clock_mhz:
            if mode not in PowerMode.__members__:
                raise RequestError(
                    f"device.clock_mhz.{mode}: not a power mode; "
                    f"{nearest(mode, PowerMode.__members__)}"
                )

    @property
    def hazards_fail(self) -> bool:
        """Whether `hazards` is error."""
        return self.hazards is Hazards.error

    @property
    def is_exact(self) -> bool:
        """Whether time is virtual and has no noise."""
        return self.clock is ClockKind.virtual and not self.noise.enabled

    @property
    def mhz(self) -> int:
        """The H clock of the power mode; calibrated_mhz if `clock_mhz` has none for it."""
        return self.clock_mhz.get(self.power_mode.value, self.calibrated_mhz)

    def scaled(self, exec_ns: int) -> int:
        """Scale an execution time from the calibrated clock to the clock of the power mode."""
        mhz = self.mhz
        # Rounded to the nearest in integers: equal requests give equal times on every machine.
        return (exec_ns * self.calibrated_mhz + mhz // 2) // mhz

    def exec_of(self, kernel: str) -> int:
        """Return the nanoseconds of one execution of `kernel`.

        RequestError if the profile has no figure for it.
        """
        if kernel not in self.exec_ns:
            raise RequestError(
                f"device.exec_ns: no figure for kernel {kernel}; {nearest(kernel, self.exec_ns)}; "
                f"give one with +device.exec_ns.{kernel}=<nanoseconds>, or a cost in the kernel's "
                "declaration"
            )
        return self.scaled(self.exec_ns[kernel])

    def sync_ns(self, fixed_ns: int, size_bytes: int) -> int:
        """Return the time of a sync of `size_bytes` on the host, in whole nanoseconds."""
        return fixed_ns + (size_bytes * self.sync_ns_per_mib + BYTES_PER_MIB // 2) // BYTES_PER_MIB


DEVICES: dict[str, type[Device]] = {"simulator": Simulator, "hardware": Hardware, "cpu": Cpu}
"""Settings of a device by its `kind`. A new device has a class above and a row here."""
