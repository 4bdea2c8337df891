"""A slot of the processor: buffers with a host and a device copy, and submissions on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.device.cpu.worker import IN_FLIGHT, Execution, State
from harness.errors import DeviceCallError, DeviceError, DeviceTimeoutError
from harness.kernel import LINE_BYTES, Buffer, Bytes

if TYPE_CHECKING:
    from harness.device.cpu.session import CpuSession

Target = tuple[Any, Bytes, Bytes]
"""What one input is written to: a view of the host copy, and the bytes to copy to the device."""
Output = tuple[Bytes, Bytes, Bytes, bool]
"""Host and device copy of an output, its bytes on the host without padding, and whether the kernel
also reads it."""


class CpuSubmission:
    """A fixed number of tiles in a slot; implements `harness.device.backend.Submission`.

    stage copies what is staged from the host's copy to the device's, collect copies the outputs
    back. buffers: host and device copy of each of `spec.buffers`, (tiles, stride_bytes). targets:
    host and device side of each array to stage. outputs: a view of the only output's host copy,
    else a copy of all outputs, which `collect` writes.
    """

    def __init__(
        self,
        session: CpuSession,
        column: int,
        buffers: Sequence[tuple[Bytes, Bytes]],
        targets: Sequence[Target],
    ) -> None:
        self._backend, self._spec, self._name = session.backend, session.spec, session.spec.name
        self._timeout_ns = session.timeout_ns
        self._worker = session.worker(column)
        self._targets = targets
        spec, tiles = session.spec, len(buffers[0][0])
        self._outputs: list[Output] = []
        for (host, copied), buffer in zip(buffers, spec.buffers, strict=True):
            if buffer.is_output:
                view = host[:, : buffer.size_bytes]
                self._outputs.append((host, copied, view, buffer.is_input))
        self.outputs: Bytes = self._outputs[0][2]
        # The outputs that `collect` joins, each with its place; none if there is only one output.
        self._joined: list[tuple[Bytes, Bytes]] = []
        if len(self._outputs) > 1:
            self.outputs = np.zeros((tiles, spec.output.size_bytes), np.uint8)
            places = spec.split_outputs(self.outputs)
            views = [view for _, _, view, _ in self._outputs]
            self._joined = list(zip(places, views, strict=True))
        stamps = np.zeros((tiles, 2), np.int64)
        execute = self._worker.program.bind([device for _, device in buffers], stamps)
        self.execution = Execution(execute, stamps)

    def stage(self, data: Sequence[Any]) -> None:
        """Write each of `data` to the host's copy and copy it to the device's."""
        for (view, host, device), content in zip(self._targets, data, strict=True):
            view[:] = content
            np.copyto(device, host)

    def launch(self) -> None:
        """Queue the execution on the column's thread; returns at once."""
        if self.execution.state in IN_FLIGHT:
            raise DeviceCallError(
                f"{self._name}: launched while in state {self.execution.state.value}; "
                "wait for its end before the next launch"
            )
        self._worker.put(self.execution)

    def wait(self, patience: int) -> None:
        """Wait for the end, at most `patience` times the timeout."""
        execution = self.execution
        if execution.state in IN_FLIGHT:
            ended = self._backend.first_ended([execution], patience * self._timeout_ns)
            if ended is None:
                raise DeviceTimeoutError(
                    f"{self._name}: no completion within "
                    f"device.timeout_ms={self._timeout_ns // 1_000_000}"
                )
        if execution.state is State.FAILED:
            error = execution.error
            raise DeviceError(
                f"{self._name}: the kernel failed ({type(error).__name__}: {error})"
            ) from error

    def collect(self) -> None:
        """Copy the outputs from the device's copy to the host's."""
        for host, device, _, _ in self._outputs:
            np.copyto(host, device)
        for place, view in self._joined:
            place[:] = view

    def poison(self, content: Bytes) -> None:
        """Fill both copies of the outputs with `content`; an inout buffer keeps its input."""
        parts = self._spec.split_outputs(content)
        for (host, device, view, is_input), part in zip(self._outputs, parts, strict=True):
            if not is_input:
                view[:] = part
                np.copyto(device, host)


class CpuSlot:
    """Buffers for up to `batch` tiles on one column; implements `harness.device.backend.Slot`.

    constants: as `harness.device.backend.Session.slot` takes them.
    """

    def __init__(
        self,
        session: CpuSession,
        column: int,
        batch: int,
        counts: Sequence[int],
        constants: Sequence[Bytes] | None = None,
    ) -> None:
        self._session = session
        self._column = column
        self._batch = batch
        self._counts = counts
        self._constants = constants
        self._stuck = False
        self.submissions: dict[int, CpuSubmission] = {}

    def allocate(self) -> None:
        """Allocate new buffers, and replace `submissions`."""
        self.submissions = {}
        spec = self._session.spec
        try:
            buffers = [
                (_lines(self._batch, each.stride_bytes), _lines(self._batch, each.stride_bytes))
                for each in spec.buffers
            ]
        except MemoryError as error:
            raise DeviceError(
                f"{spec.name}: out of memory for buffers of {self._batch} tiles; "
                "use a smaller strategy.depth or strategy.batch"
            ) from error
        self._session.allocations += len(buffers)
        inputs = self._inputs(buffers)
        for (both, each), content in zip(inputs, self._constants or (), strict=False):
            for copy in both:
                copy[:, each.varying_bytes : each.size_bytes] = content
        for count in self._counts:
            used = [(host[:count], device[:count]) for host, device in buffers]
            self.submissions[count] = CpuSubmission(
                self._session, self._column, used, self._targets(used)
            )

    def keep(self) -> None:
        """Never free the buffers, because an execution may still use them."""
        self._stuck = True
        self._session.keep(self._column)

    def close(self) -> bool:
        """Free the buffers unless `keep` was called; returns whether it was."""
        if not self._stuck:
            self.submissions = {}
        return self._stuck

    def _inputs(
        self, buffers: Sequence[tuple[Bytes, Bytes]]
    ) -> list[tuple[tuple[Bytes, Bytes], Buffer]]:
        """Those of `buffers` that the host writes, each with its declaration."""
        pairs = zip(buffers, self._session.spec.buffers, strict=True)
        return [(both, each) for both, each in pairs if each.is_input]

    def _targets(self, buffers: Sequence[tuple[Bytes, Bytes]]) -> list[Target]:
        """Where to stage each input: whole flat buffers, or with constants the varying parts."""
        targets: list[Target] = []
        for (host, device), each in self._inputs(buffers):
            if self._constants is None:
                # A memoryview costs less per assignment than an array.
                targets.append((host.reshape(-1).data, host, device))
            elif each.varying_bytes:
                varying = host[:, : each.varying_bytes]
                targets.append((varying, varying, device[:, : each.varying_bytes]))
        return targets


def _lines(tiles: int, stride_bytes: int) -> Bytes:
    """A zeroed array (tiles, stride_bytes) that begins on a cache line."""
    size_bytes = tiles * stride_bytes
    memory = np.zeros(size_bytes + LINE_BYTES, np.uint8)
    begin = -memory.ctypes.data % LINE_BYTES
    return memory[begin : begin + size_bytes].reshape(tiles, stride_bytes)
