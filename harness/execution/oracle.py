"""Chooses what outputs are compared with: references, or a serial pass on the same device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from harness.config.device import Device, Simulator
from harness.config.schema import Verify
from harness.config.strategy import Buffers, Strategy
from harness.errors import RequestError
from harness.execution.agreement import Oracle
from harness.execution.executor import Executor
from harness.execution.verify import Expected, is_exact
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import Bytes, KernelSpec
from harness.kernel.difference import FLOATS

SERIAL = Strategy(buffers=Buffers.per_tile)
"""The serial pass: new bos for every tile, one in flight, one column."""
ORACLES = {
    Verify.all: Oracle.reference,
    Verify.reference: Oracle.reference,
    Verify.device: Oracle.device,
    Verify.off: Oracle.off,
}
"""What each effective value of `verify` compares outputs with."""
PIECE_BYTES = 1 << 22
"""Expected outputs that are compared with each other at once."""


class SerialOutputs:
    """The outputs of a serial pass on the device, in place of those of references.

        expected = SerialOutputs(tiles)
        expected.take(Executor(sessions, SERIAL, tiles.period, constants, links))
        checker = Checker(expected)

    They prove that a strategy computes what serial execution computes, and nothing else.
    """

    wording: ClassVar[str] = "in the serial pass"
    """What messages call the outputs of `expect`."""

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles
        self._outputs: tuple[Bytes, ...] = ()

    @property
    def chain(self) -> Chain:
        """The kernels whose outputs these are."""
        return self._tiles.chain

    @property
    def is_taken(self) -> bool:
        """Whether the serial pass has run."""
        return bool(self._outputs)

    def take(self, executor: Executor) -> None:
        """Run the serial pass over all distinct tiles; executor: of SERIAL, for so many tiles.

        DeviceError if the device fails.
        """
        outputs = tuple(
            np.empty((self._tiles.period, spec.output.size_bytes), np.uint8)
            for spec in self.chain.kernels
        )

        def inspect(kernel_index: int, first: int, copied: Bytes) -> None:
            outputs[kernel_index][first : first + len(copied)] = copied

        executor.run(self._tiles, lambda first, last: None, inspect=inspect)
        executor.release()
        self._outputs = outputs

    def expect(self, first: int, count: int, kernel_index: int = -1) -> Bytes:
        """Outputs of `count` tiles from `first` on, (count, size_bytes) uint8."""
        rows = np.arange(first, first + count) % self._tiles.period
        return self._outputs[kernel_index][rows]


def expected_of(tiles: Tiles, verify: Verify) -> Tiles | SerialOutputs:
    """What the outputs of `tiles` are compared with; verify: the effective value."""
    return SerialOutputs(tiles) if verify is Verify.device else tiles


def choose_verify(
    verify: Verify, specs: Sequence[KernelSpec], device: Device
) -> tuple[Verify, list[str]]:
    """The effective value of `verify` for these kernels, and a remark for what differs.

    RequestError if references are requested that kernels lack.
    """
    lacking = [spec.name for spec in specs if spec.reference is None]
    if not lacking or verify is Verify.off:
        return verify, []
    names, has = " and ".join(lacking), "has" if len(lacking) == 1 else "have"
    if verify is Verify.reference:
        raise RequestError(
            f"verify=reference: {names} {has} no reference; declare one, or use verify=device"
        )
    remarks = []
    if verify is Verify.all:
        remarks.append(
            f"verify=all: {names} {has} no reference, so outputs are compared with those of a "
            "serial pass on the device, as with verify=device"
        )
    return Verify.device, remarks + without_arithmetic(specs, device)


def check_references(specs: Sequence[KernelSpec], request: str) -> None:
    """RequestError about a request that needs the reference of every kernel, if one has none."""
    if lacking := [spec.name for spec in specs if spec.reference is None]:
        raise RequestError(
            f"{request}: the results are compared with references, and kernel "
            f"{' and '.join(lacking)} has none; declare one, or leave {request.split('=')[0]} out"
        )


def without_arithmetic(specs: Sequence[KernelSpec], device: Device) -> list[str]:
    """A remark if outputs of these kernels have no meaning on this device; else empty."""
    lacking = [spec.name for spec in specs if spec.reference is None]
    if not lacking or not isinstance(device, Simulator):
        return []
    return [
        f"the simulator has no arithmetic for {' and '.join(lacking)}: outputs are random values "
        "that follow from a checksum of the inputs"
    ]


def blind_spots(expected: Expected, between: int, tiles: int, period: int) -> list[str]:
    """What the comparison cannot detect: a line for each kernel with stale or only NaN outputs.

    between: tiles from one use of a slot to the next. tiles: of the pass. period: distinct ones.
    """
    lines = _only_nan(expected, period)
    # `make_tiles` reports that all tiles are the same.
    if period == 1:
        return lines
    for index, spec in enumerate(expected.chain.kernels):
        count = min(tiles - between, period)
        alike = _alike(expected, index, between, count) if count > 0 else 0
        if alike:
            allowed = "" if is_exact(spec) else ", within the tolerance"
            lines.append(
                f"{spec.name}: {alike} of {count} outputs equal that of {between} tiles "
                f"earlier{allowed}: if one is left over from that tile, this run does not show it"
            )
    return lines


def _only_nan(expected: Expected, period: int) -> list[str]:
    """A line for each kernel with outputs that are NaN in each element of each tile."""
    lines = []
    for index, spec in enumerate(expected.chain.kernels):
        names = {part.name for part in spec.output.parts if part.dtype in FLOATS}
        at_once = max(1, PIECE_BYTES // spec.output.size_bytes)
        first = 0
        while names and first < period:
            outputs = expected.expect(first, min(at_once, period - first), index)
            for part, each in zip(spec.output.parts, spec.output.unpack(outputs), strict=True):
                if not (each != each).all():
                    names.discard(part.name)
            first += at_once
        if names:
            lines.append(
                f"{spec.name}: each expected value of {' and '.join(sorted(names))} is NaN: this "
                "run shows only that the kernel returns NaN too"
            )
    return lines


def _alike(expected: Expected, kernel_index: int, between: int, count: int) -> int:
    """Number of tiles whose output would be right as that of `between` tiles later."""
    spec, alike = expected.chain.kernels[kernel_index], 0
    at_once = max(1, PIECE_BYTES // spec.output.size_bytes)
    for first in range(0, count, at_once):
        rows = min(at_once, count - first)
        stale = expected.expect(first, rows, kernel_index)
        right = expected.expect(first + between, rows, kernel_index)
        wrong = (stale != right).any(axis=1)
        if not is_exact(spec):
            buffer = spec.output
            wrong[:] = False
            arrays = zip(buffer.parts, buffer.unpack(stale), buffer.unpack(right), strict=True)
            for part, left, other in arrays:
                wrong |= spec.tolerance.measure(left, other, part.dtype).wrong
        alike += rows - int(wrong.sum())
    return alike
