"""The time of an execution on a simulated device, by its kernel and by the data that it moves."""

from __future__ import annotations

from typing import Any

from harness.config.device import Simulator
from harness.config.shared_memory import larger, moving_ns
from harness.kernel import KernelSpec


def moved_bytes(spec: KernelSpec) -> int:
    """Bytes of an execution in the direction in which it moves more: inputs, or outputs."""
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

    contexts: number of open contexts, of one column each. RequestError if the profile has no figure
    for the kernel.
    """
    moving = data_ns(device, moved_bytes(spec), min(contexts, device.columns))
    exec_ns = larger(device.exec_of(spec.name), moving)
    return exec_ns, device.memory.slowdowns(exec_ns, moving)
