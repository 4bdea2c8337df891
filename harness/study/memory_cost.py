"""What a run loses because the memory limits its executions, and host and device share it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.config.device import Simulator
from harness.config.shared_memory import SharedMemory
from harness.config.stored import config_of
from harness.errors import RequestError
from harness.execution.predict import predicted_ns
from harness.results.memory_bound import has_shared_memory
from harness.results.record import Record
from harness.results.run_key import are_unchanged


@dataclass(frozen=True)
class MemoryCost:
    """Shares of the time of a pass, by the model of a pass.

    lost: what a memory without limits would save. overlap: what this run saves over the same one
    with a single submission at a time; None if it is that one.
    """

    lost: float
    overlap: float | None


def memory_cost_of(record: Record) -> MemoryCost | None:
    """None if the device has no shared memory, the model does not cover the run, or a kernel has
    changed since.
    """
    if not record.ok or not has_shared_memory(record):
        return None
    try:
        config = config_of(record.config, record.knobs)
        if not isinstance(config.device, Simulator):
            return None
        if not are_unchanged(config.workload.kernels, record.kernel_hashes):
            return None
        own_ns = predicted_ns(config)
        free = replace(config, device=replace(config.device, memory=SharedMemory()))
        serial = replace(config, strategy=replace(config.strategy, depth=1, prefetch=0))
        if not own_ns:
            return None
        lost, is_serial = 1 - predicted_ns(free) / own_ns, serial.strategy == config.strategy
        return MemoryCost(lost, None if is_serial else 1 - own_ns / predicted_ns(serial))
    except RequestError:
        # A record of an earlier version.
        return None
