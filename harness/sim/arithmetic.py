"""The arithmetic of a simulated kernel, computed once for equal inputs."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np

from harness.inputs.tiles import reference_failure
from harness.kernel import Bytes, KernelSpec
from harness.kernel.difference import FLOATS, integer_range
from harness.kernel.dtypes import array_dtype

MOST_BYTES = 32 << 20
"""Inputs and outputs that are stored for a kernel."""


class Arithmetic:
    """Outputs of a kernel by its inputs: the passes of a run repeat the same tiles many times.

    Those of a kernel without a reference follow from a checksum of the inputs.
    """

    def __init__(self, spec: KernelSpec) -> None:
        self._spec = spec
        self._outputs: dict[tuple[bytes, ...], bytes] = {}

    @property
    def high_byte(self) -> int:
        """Index of the byte with the highest bits of the first element of the output."""
        # Little-endian: its last byte has the sign, and of a float the exponent.
        return array_dtype(self._spec.output.parts[0].dtype).itemsize - 1

    def output_of(self, inputs: tuple[bytes, ...]) -> bytes:
        """The content of the output buffer for that of each input buffer, of one tile.

        RequestError if the reference fails.
        """
        output = self._outputs.get(inputs)
        if output is None:
            # Copies, which the reference may change.
            arrays = [np.frombuffer(bytearray(each), np.uint8).reshape(1, -1) for each in inputs]
            if self._spec.reference is None:
                output = _checksum_output(self._spec, inputs)
            else:
                output = self._computed(arrays)
            if len(self._outputs) * self._spec.size_bytes >= MOST_BYTES:
                self._outputs.clear()
            self._outputs[inputs] = output
        return output

    def _computed(self, arrays: list[Bytes]) -> bytes:
        try:
            return self._spec.compute(*arrays).tobytes()
        # A call of sys.exit in it must not end the harness.
        except (Exception, SystemExit) as error:
            raise reference_failure(self._spec, error) from error


def _checksum_output(spec: KernelSpec, inputs: tuple[bytes, ...]) -> bytes:
    """The output of a kernel without a reference: random values with a checksum as the seed.

    Other inputs give other outputs, so that an output of another tile is not taken for right.
    Floats are finite, so that a kernel behind it in a chain has numbers to compute with.
    """
    digest = blake2b(digest_size=16)
    for each in (*inputs, *(str(each.value).encode() for each in spec.scalars.values())):
        digest.update(each)
    generator = np.random.default_rng(int.from_bytes(digest.digest(), "little"))
    arrays = []
    for part in spec.output.parts:
        dtype = array_dtype(part.dtype)
        if part.dtype in FLOATS:
            values: Any = generator.standard_normal((1, *part.shape), np.float32)
        else:
            values = generator.integers(*integer_range(part.dtype), (1, *part.shape), endpoint=True)
        arrays.append(values.astype(dtype))
    return spec.output.pack(*arrays).tobytes()
