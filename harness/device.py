"""What a device is: the profile the simulator charges by, or the way to real hardware."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from harness.errors import RequestError, check_range, nearest
from harness.units import BYTES_PER_MIB, NS_PER_S

MOST_NS = 100 * NS_PER_S
"""Of one cost: ten million tiles of it still fit the clock's 64 bits."""

MOST_COUNT = 4096


@dataclass(frozen=True)
class Device:
    """What both kinds of device need.

    columns: usable ones; five on a Phoenix NPU, of which column 0 has no shim DMA (mlir-aie #2371). timeout_ms: how
    long a submission may take; a single run is given up then, a runlist judged when it has ended.
    """

    kind: str
    kernels_dir: str = "kernels/build"
    timeout_ms: int = 5_000
    columns: int = 4

    def __post_init__(self) -> None:
        check_range("device.columns", self.columns, 1, MOST_COUNT)
        check_range("device.timeout_ms", self.timeout_ms, 1)


@dataclass(frozen=True)
class Hardware(Device):
    """A real NPU through pyxrt. `index`: which device, as `pyxrt.device(index)` counts."""

    kind: str = "hardware"
    index: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("device.index", self.index, 0)


@dataclass(frozen=True)
class Simulator(Device):
    """Costs and limits of a simulated NPU; `sources` says for each where the number comes from.

    Costs are charged on the host's clock (open, alloc, write, read, launch), on the column's (cold start, exec,
    chain command), or between them (completion: end of execution until the host can see it). A sync costs its
    fixed part plus its bytes times `sync_ns_per_mib` / 2^20. `exec_ns`: one execution of each kernel.
    """

    kind: str = "simulator"
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
    exec_ns: dict[str, int] = field(default_factory=dict)
    context_limit: int = 6
    queue_depth: int = 4
    chain_length: int = 24
    sources: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        for item in fields(self):
            if item.name.endswith(("_ns", "_mib")) and item.name != "exec_ns":
                check_range(f"device.{item.name}", getattr(self, item.name), 0, MOST_NS)
        for kernel, exec_ns in self.exec_ns.items():
            check_range(f"device.exec_ns.{kernel}", exec_ns, 0, MOST_NS)
        for name in ("context_limit", "queue_depth", "chain_length"):
            check_range(f"device.{name}", getattr(self, name), 1, MOST_COUNT)

    def exec_of(self, kernel: str) -> int:
        """Nanoseconds of one execution of `kernel`; RequestError where the profile has no figure for it."""
        if kernel not in self.exec_ns:
            raise RequestError(
                f"device.exec_ns: no figure for kernel {kernel}; {nearest(kernel, self.exec_ns)}; "
                f"give one with +device.exec_ns.{kernel}=<nanoseconds>"
            )
        return self.exec_ns[kernel]

    def sync_ns(self, fixed_ns: int, size_bytes: int) -> int:
        """What a sync of `size_bytes` costs the host, rounded to whole nanoseconds."""
        return fixed_ns + (size_bytes * self.sync_ns_per_mib + BYTES_PER_MIB // 2) // BYTES_PER_MIB
