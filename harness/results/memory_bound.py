"""Whether the memory of a simulated device makes the executions of a run longer."""

from __future__ import annotations

from harness.config.device import Simulator
from harness.config.execution_time import exec_ns_of
from harness.config.stored import config_of
from harness.errors import RequestError
from harness.results.record import Record
from harness.results.run_key import kernel_of_run

LONGER = 1.25
"""Executions that take this times their own arithmetic or longer are limited by the memory."""
MEMORY = "memory"
"""In place of the kernel that limits a run."""


def has_shared_memory(record: Record) -> bool:
    """Whether the device of a record is a simulated one whose memory affects times."""
    return any((record.config.get("device", {}).get("memory") or {}).values())


def memory_limits(record: Record) -> bool:
    """Whether bandwidth, or syncs beside them, make the executions of a kernel LONGER.

    False for chains and encoders, whose kernels have no totals of their own.
    """
    totals = record.totals
    if not has_shared_memory(record) or record.steps or not totals or not totals.exec_ns:
        return False
    try:
        device = config_of(record.config, record.knobs).device
        if not isinstance(device, Simulator):
            return False
        alone_ns: int = exec_ns_of(device, kernel_of_run(record.kernel, record.kernel_hashes))
    except RequestError:
        # A record of an earlier version, or of a kernel that has changed since.
        return False
    # Each execution of a runlist after the first takes a command of the chain, too.
    command_ns = device.chain_command_ns if record.knobs.batch > 1 else 0
    return totals.exec_ns >= LONGER * totals.tiles * (alone_ns + command_ns)
