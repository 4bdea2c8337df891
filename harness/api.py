"""The harness from Python: open a device, and run tiles of one's own through its kernels.

What the guide calls `NPUEncoderBlock` and `PipelinedNPUExecutor` are `EncoderBlock` and `Pipeline` here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from harness.config import compose as config
from harness.config.device import Device, Hardware
from harness.config.strategy import Strategy
from harness.config.workload import BLOCK, BLOCK_LINKS, FUSED_BLOCK
from harness.device.backend import Session
from harness.errors import RequestError
from harness.inputs.chain import Link, make_chain
from harness.inputs.tiles import Tiles
from harness.kernel import Array, Bytes, load_kernel
from harness.measure.timeline import Timeline
from harness.run.executor import Executor
from harness.run.prepare import deal_columns, open_kernels


def open_device(*overrides: str) -> Device:
    """A device as the command line would have it: `open_device("device=hardware", "device.index=1")`.

    RequestError for what cannot be composed.
    """
    return config.load("tracking=off", *overrides).device


class Pipeline:
    """A chain of kernels on a device, its contexts open until it is closed.

    Where there are too few contexts for a chain on so many columns, `strategy` has as many as any kernel gets.
    links: how a kernel takes the output before it, by its name, where not exactly. RequestError where kernels do not
    connect or the device cannot be had; DeviceError where it fails or has no context left.
    """

    def __init__(
        self,
        kernels: Sequence[str],
        device: Device | None = None,
        strategy: Strategy | None = None,
        links: Mapping[str, Link] | None = None,
    ) -> None:
        device = device or open_device()
        if isinstance(device, Hardware) and device.power_mode:
            raise RequestError(
                f"device.power_mode={device.power_mode.value}: pipelines run in the mode they find; set it by hand "
                f"(sudo xrt-smi configure --pmode {device.power_mode.value}) and leave device.power_mode out"
            )
        self.strategy = strategy or Strategy(depth=2)
        self.chain = make_chain([load_kernel(name) for name in kernels], links or {})
        self.timeline: Timeline | None = None
        self._stuck = False
        columns = deal_columns(self.chain, self.strategy, device)
        self.strategy = replace(self.strategy, columns=max(columns))
        self._backend = open_kernels(device, self.chain.kernels, columns)
        self._sessions: list[Session] = []
        try:
            for spec, width in zip(self.chain.kernels, columns, strict=True):
                self._sessions.append(self._backend.open_session(spec, width, device.timeout_ms))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the contexts back, but for those of a run that has not been seen to end."""
        for session in [] if self._stuck else self._sessions:
            session.close()
        self._sessions = []

    def run(self, inputs: Sequence[Array], constants: Sequence[Sequence[Array]] = ()) -> Array:
        """Run tiles through the chain: arrays (tiles, *shape) of the first kernel's varying parts, in order.

        constants: for each kernel, arrays (*shape) of its constant parts. Returns the last kernel's output, (tiles,
        *shape), and leaves the pass in `timeline`. RequestError where shapes or dtypes do not fit.
        """
        kernels = self.chain.kernels
        self.timeline = None
        if not self._sessions:
            raise RequestError("this pipeline is closed; open another")
        given = [tuple(each) for each in constants] or [()] * len(kernels)
        if len(given) != len(kernels):
            raise RequestError(
                f"constants: given for {len(given)} kernels; the chain has {len(kernels)}"
            )
        packed = [
            self._packed(kernel_index, inputs if kernel_index == 0 else None, each)
            for kernel_index, each in enumerate(given)
        ]
        if not len(packed[0]):
            return self._unpacked(np.empty((0, kernels[-1].output.size_bytes), np.uint8))
        later = tuple(
            (row[0, spec.inputs[0].varying_bytes :],)
            for row, spec in zip(packed[1:], kernels[1:], strict=True)
        )
        tiles = Tiles(self.chain, (packed[0],), 0.0, 0, later)
        return self._pass(tiles, len(packed[0]))

    def _packed(
        self, kernel_index: int, varying: Sequence[Array] | None, constants: Sequence[Array]
    ) -> Bytes:
        """The input buffer of a kernel, (tiles, size_bytes) uint8; one tile of zeros where nothing varying is given."""
        spec = self.chain.kernels[kernel_index]
        if len(spec.inputs) != 1:
            raise RequestError(
                f"{spec.name}: takes {len(spec.inputs)} input buffers; kernels of one are run from here"
            )
        (buffer,) = spec.inputs
        varies = [part for part in buffer.parts if not part.constant]
        arrays = (
            list(varying)
            if varying is not None
            else [np.zeros((1, *part.shape), part.dtype) for part in varies]
        )
        same = [part for part in buffer.parts if part.constant]
        if (len(arrays), len(constants)) != (len(varies), len(same)):
            inputs, others = (
                ", ".join(part.name for part in parts) or "none" for parts in (varies, same)
            )
            raise RequestError(
                f"{spec.name}: given {len(arrays)} inputs and {len(constants)} constants; takes inputs {inputs} and "
                f"constants {others}"
            )
        count = len(arrays[0])
        repeated = [
            np.broadcast_to(constant, (count, *np.shape(constant))) for constant in constants
        ]
        return buffer.pack(*arrays, *repeated)

    def _pass(self, tiles: Tiles, count: int) -> Array:
        outputs = np.empty((count, tiles.spec.output.size_bytes), np.uint8)

        def sink(first: int, given: Bytes) -> None:
            outputs[first : first + len(given)] = given

        constants = tiles.constants_to_hold(self.strategy.resident)
        executor = Executor(self._sessions, self.strategy, count, constants, self.chain.links)
        try:
            self.timeline = executor.run(tiles, sink).timeline()
        finally:
            self._stuck |= not executor.release()
        return self._unpacked(outputs)

    def _unpacked(self, outputs: Bytes) -> Array:
        array: Array = self.chain.kernels[-1].output.unpack(outputs)[0]
        return array


class EncoderBlock(Pipeline):
    """The guide's encoder block: attention, layernorm, a 16x16 product with `weights`, GELU; the host's glue between.

    weights: (16, 16) int8 in units of 1/32; by default the identity. fused: two kernels in place of four, with the same
    outputs.
    """

    def __init__(
        self,
        weights: Array | None = None,
        *,
        device: Device | None = None,
        depth: int = 2,
        fused: bool = False,
    ) -> None:
        names, links = (FUSED_BLOCK, {}) if fused else (BLOCK, BLOCK_LINKS)
        super().__init__(names, device, Strategy(depth=depth), links)
        self._weights = np.eye(16, dtype=np.int8) * 32 if weights is None else weights
        self._fused = fused

    def forward(self, q: Array, k: Array, v: Array, gamma: Array, beta: Array) -> Array:
        """One tile: q, k, v (64, 64), gamma, beta (256,) int8 -> (512,) int8."""
        one: Array = self.forward_batch(q[None], k[None], v[None], gamma, beta, batch_size=1)[0]
        return one

    def forward_batch(
        self, q: Array, k: Array, v: Array, gamma: Array, beta: Array, batch_size: int = 8
    ) -> Array:
        """Tiles: q, k, v (tiles, 64, 64) -> (tiles, 512) int8; `batch_size` of them to a submission."""
        self.strategy = Strategy(depth=self.strategy.depth, batch=max(1, min(batch_size, len(q))))
        norm, product = (gamma, beta), (self._weights,)
        return self.run((q, k, v), (norm, product) if self._fused else ((), norm, product, ()))
