"""The time of an execution on a simulated device, by its kernel and by the data that it moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.config.arithmetic import Gemm
from harness.config.device import Device, Simulator
from harness.config.shared_memory import larger, moving_ns
from harness.errors import RequestError
from harness.kernel import Cost, FixedCost, GemmCost, KernelSpec, kernel_names, kernels_root

GEMM_COLUMNS = 4
"""Columns of the device on which the products of `Gemm` were timed."""


def exec_ns_of(device: Simulator, spec: KernelSpec) -> Any:
    """The time of an execution by its arithmetic alone: the profile's figure, else its cost.

    RequestError if neither gives one.
    """
    if spec.name in device.exec_ns or spec.cost is None:
        return device.exec_of(spec.name)
    return cost_ns(device, spec.cost, spec.name)


def cost_ns(device: Simulator, cost: Cost, kernel: str) -> Any:
    """The nanoseconds of a cost on a device; RequestError with what its profile lacks."""
    if isinstance(cost, FixedCost):
        return device.scaled(cost.ns)
    if isinstance(cost, GemmCost):
        rates = gemm_of(device, cost, kernel)
        macs_ns = cost.macs // (cost.cores * rates.mac_per_ns)
        compute_ns = device.scaled(cost.calls * rates.call_ns + macs_ns)
        # Half the columns have half the channels.
        moved_ns = moving_ns(cost.bytes * GEMM_COLUMNS, rates.ns_per_mib)
        return rates.t0_ns + larger(compute_ns, -(-moved_ns // cost.columns))
    ops_ns = -(-cost.ops * 1000 // (ops_per_us(device, cost.dtype, kernel) * cost.cores))
    return larger(ops_ns, data_ns(device, cost.moved_bytes, cost.columns, cost.columns))


def gemm_of(device: Simulator, cost: GemmCost, kernel: str) -> Gemm:
    """The profile's rates for the type of a product; RequestError if it has none."""
    models = {"int8": device.gemm_int8, "bfloat16": device.gemm_bfloat16}
    rates: Gemm | None = models.get(cost.dtype)
    if rates is None or not rates.mac_per_ns:
        raise RequestError(
            f"kernel {kernel}: the profile has no times of products of {cost.dtype} "
            f"(device.gemm_<type>: {', '.join(models)}); give "
            f"+device.exec_ns.{kernel}=<nanoseconds>"
        )
    return rates


def ops_per_us(device: Simulator, dtype: str, kernel: str) -> int:
    """Peak of a core in operations a microsecond; RequestError without one for the type."""
    if dtype not in device.core_macs:
        known = ", ".join(device.core_macs) or "none"
        raise RequestError(
            f"kernel {kernel}: the profile has no peak for {dtype} (device.core_macs: {known}); "
            f"give +device.exec_ns.{kernel}=<nanoseconds>"
        )
    return 2 * device.core_macs[dtype] * device.mhz


def cost_remark(device: Simulator, spec: KernelSpec) -> str | None:
    """Where the time of an execution comes from, if not from the profile; None if it does."""
    if spec.name in device.exec_ns or spec.cost is None:
        return None
    time = f"{spec.name}: an execution takes {cost_ns(device, spec.cost, spec.name) / 1000:,.1f} us"
    if isinstance(spec.cost, FixedCost):
        return f"{time}, as the kernel declares"
    if isinstance(spec.cost, GemmCost):
        rates = gemm_of(device, spec.cost, spec.name)
        return (
            f"{time} by the profile's model of {spec.cost.dtype} products, whose error is "
            f"{rates.mean_error_pct:g} % on average and up to {rates.largest_error_pct:g} %"
        )
    return f"{time} at the profile's peak and bandwidth: a real one takes longer"


def figure_remark(device: Device, spec: KernelSpec) -> str | None:
    """A remark if the profile's figure for a kernel of the harness counts for one of the user."""
    is_users = spec.own or spec.folder is None
    if not (is_users and isinstance(device, Simulator) and spec.name in device.exec_ns):
        return None
    if spec.name not in kernel_names(kernels_root()):
        return None
    key, time_us = f"device.exec_ns.{spec.name}", device.exec_of(spec.name) / 1000
    return (
        f"kernel {spec.name}: an execution takes {time_us:,.1f} us by {key}, whatever its cost; "
        "unless you set it, this is the figure for the kernel of the harness with this name; "
        "set it, or rename the kernel"
    )


def own_columns(spec: KernelSpec) -> int:
    """Columns that an execution uses: those of its cost, else 1."""
    cost = spec.cost
    return 1 if cost is None or isinstance(cost, FixedCost) else cost.columns


def check_columns(device: Simulator, specs: Sequence[KernelSpec], contexts: Sequence[int]) -> None:
    """RequestError if kernels that use several columns leave too few for each context.

    contexts: of each kernel. Their times would be wrong: such contexts take turns on an NPU.
    """
    used = [own_columns(spec) * count for spec, count in zip(specs, contexts, strict=True)]
    if sum(used) > device.columns and any(own_columns(spec) > 1 for spec in specs):
        names = ", ".join(f"{spec.name} {own_columns(spec)}" for spec in specs)
        raise RequestError(
            f"strategy.columns={max(contexts)}: the contexts use {sum(used)} columns by the costs "
            f"of their kernels ({names}), and the device has {device.columns}; use a smaller "
            "strategy.columns, or run the kernels apart"
        )


def moved_bytes(spec: KernelSpec) -> int:
    """Bytes of an execution, a column, in the direction in which it moves more.

    From its cost if that declares them, else its inputs, or its outputs.
    """
    if spec.cost is not None and not isinstance(spec.cost, FixedCost):
        return -(-spec.cost.moved_bytes // spec.cost.columns)
    read, written = (
        sum(each.size_bytes for each in buffers) for buffers in (spec.inputs, spec.outputs)
    )
    return max(read, written)


def data_ns(device: Simulator, size_bytes: int, open_columns: int, columns: int = 1) -> Any:
    """Shortest time in which an execution on `columns` moves its data; 0 without a bandwidth.

    size_bytes: `moved_bytes`. open_columns: columns of the device that have contexts. The speed of
    a channel scales with the H clock, because it moves a word a cycle.
    """
    memory, own_bytes = device.memory, -(-size_bytes // columns)
    channel_ns = device.scaled(moving_ns(own_bytes, memory.channel_ns_per_mib))
    return larger(channel_ns, moving_ns(own_bytes * open_columns, memory.array_ns_per_mib))


def execution(device: Simulator, spec: KernelSpec, contexts: int) -> tuple[Any, tuple[Any, Any]]:
    """The time of an execution on one column, and `SharedMemory.slowdowns` for it.

    contexts: number of open contexts, of one column each. RequestError as in `exec_ns_of`.
    """
    moving = data_ns(device, moved_bytes(spec), min(contexts, device.columns))
    exec_ns = larger(exec_ns_of(device, spec), moving)
    return exec_ns, device.memory.slowdowns(exec_ns, moving)
