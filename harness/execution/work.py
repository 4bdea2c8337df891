"""What a tile counts for in throughput, and the peaks of the device that runs it."""

from __future__ import annotations

from harness.config.device import Device, Simulator
from harness.inputs.chain import Chain
from harness.kernel import Buffer, KernelSpec
from harness.kernel.cost import ROWS
from harness.measure.metric import Work
from harness.units import BYTES_PER_MIB

MHZ_PER_GHZ = 1000


def work_of(chain: Chain, device: Device, resident: bool) -> Work:
    """Operations and bytes of a tile that passes through a chain.

    resident: constants stay in their bos, so they are not moved.
    """
    ops = [spec.ops for spec in chain.kernels]
    size_bytes = sum(_moved_bytes(spec, resident) for spec in chain.kernels)
    peak_gops, bandwidth = peaks_of(device, chain.kernels[0].parts[0].dtype)
    return Work(sum(ops) if all(ops) else None, size_bytes, peak_gops, bandwidth)


def peaks_of(device: Device, dtype: str) -> tuple[float | None, float | None]:
    """10^9 operations on `dtype`, and 10^9 bytes between host and device, per second at most.

    Of all columns of the device; None where its profile has no figure. Bytes are those of both
    directions together, which each have the bandwidth of the array.
    """
    if not isinstance(device, Simulator):
        return None, None
    # A multiply-accumulate counts as two operations.
    ops_per_cycle = 2 * device.core_macs.get(dtype, 0) * ROWS * device.columns
    ns_per_mib = device.memory.array_ns_per_mib
    bandwidth = 2 * BYTES_PER_MIB / ns_per_mib if ns_per_mib else None
    return ops_per_cycle * device.mhz / MHZ_PER_GHZ or None, bandwidth


def _moved_bytes(spec: KernelSpec, resident: bool) -> int:
    def of_input(buffer: Buffer) -> int:
        return buffer.varying_bytes if resident else buffer.size_bytes

    return sum(map(of_input, spec.inputs)) + sum(each.size_bytes for each in spec.outputs)
