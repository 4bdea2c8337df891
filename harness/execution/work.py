"""What a tile counts for in throughput, and the peaks of the device that runs it."""

from __future__ import annotations

from harness.config.device import Device
from harness.inputs.chain import Chain
from harness.kernel import Buffer, KernelSpec
from harness.measure.metric import Work


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

    None where the device's profile has no figure.
    """
    return None, None


def _moved_bytes(spec: KernelSpec, resident: bool) -> int:
    def of_input(buffer: Buffer) -> int:
        return buffer.varying_bytes if resident else buffer.size_bytes

    return sum(map(of_input, spec.inputs)) + sum(each.size_bytes for each in spec.outputs)
