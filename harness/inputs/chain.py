"""Chains: the kernels that a tile passes through in order, and how the host connects them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

import numpy as np

from harness.errors import RequestError, nearest
from harness.kernel import Bytes, KernelSpec


class Link(Enum):
    """How the host forms a kernel's varying input from the output of the kernel before it.

    exact: the same bytes. first: the first bytes of a longer output. pad: a shorter output,
    followed by zeros.
    """

    exact = "exact"
    first = "first"
    pad = "pad"

    def fits(self, output_bytes: int, input_bytes: int) -> bool:
        """Whether this link can connect an output and an input of these sizes."""
        if self is Link.exact:
            return output_bytes == input_bytes
        return output_bytes > input_bytes if self is Link.first else output_bytes < input_bytes


@dataclass(frozen=True)
class Chain:
    """Kernels in order; links[k] connects kernel k to kernel k + 1.

    RequestError if the sizes of an output and the next input do not fit their link.
    """

    kernels: tuple[KernelSpec, ...]
    links: tuple[Link, ...] = ()

    def __post_init__(self) -> None:
        for number, link in enumerate(self.links):
            before, after = self.kernels[number], self.kernels[number + 1]
            varying = [buffer.varying_bytes for buffer in after.inputs if buffer.varying_bytes]
            if len(varying) != 1:
                raise RequestError(
                    f"workload.chain: {after.name} takes {len(varying)} input buffers that vary; "
                    "a kernel after another one must take a single one, constants apart"
                )
            output_bytes, (input_bytes,) = before.output.size_bytes, varying
            if not link.fits(output_bytes, input_bytes):
                # Exactly one of the three links fits any two sizes.
                allowed = next(each for each in Link if each.fits(output_bytes, input_bytes))
                raise RequestError(
                    f"workload.links.{after.name}={link.value}: {before.name} returns "
                    f"{output_bytes} bytes and {after.name} takes {input_bytes}, without its "
                    f"constants; allowed: {allowed.value}"
                )

    @property
    def name(self) -> str:
        """The kernels' names: `attention+layernorm`."""
        return "+".join(kernel.name for kernel in self.kernels)

    @property
    def remarks(self) -> tuple[str, ...]:
        """A line for each kernel that reads the output before it as other element types."""
        lines = list[str]()
        for before, after in pairwise(self.kernels):
            given = {part.dtype for part in before.output.parts}
            taken = {part.dtype for part in after.parts if not part.constant}
            if given != taken:
                lines.append(
                    f"workload.chain: {before.name} returns {_types(given)}, and {after.name} "
                    f"reads the same bytes as {_types(taken)}: nothing is converted"
                )
        return tuple(lines)

    def columns(self, columns_each: int, contexts: int) -> tuple[int, ...]:
        """Number of columns for each kernel, one context per column.

        columns_each: columns that each kernel gets if the device has enough contexts. If not, every
        kernel gets one column, and each further context goes to the kernel with the most
        operations per column. RequestError if there are fewer contexts than kernels, or if a
        single kernel needs more contexts than the device has.
        """
        if len(self.kernels) == 1 and columns_each > contexts:
            raise RequestError(
                f"strategy.columns={columns_each}: takes a context for each column; "
                f"the device has {contexts}: use 1 to {contexts}"
            )
        if len(self.kernels) > contexts:
            raise RequestError(
                f"workload.chain: {self.name} needs a context for each kernel, "
                f"{len(self.kernels)}; the device has {contexts}: make the chain shorter"
            )
        shares = [1] * len(self.kernels)
        for _ in range(contexts - len(self.kernels)):
            below_limit = [index for index, columns in enumerate(shares) if columns < columns_each]
            if below_limit:
                # The kernel with the most operations per column limits the chain.
                busiest = max(
                    below_limit, key=lambda index: self.kernels[index].ops / shares[index]
                )
                shares[busiest] += 1
        return tuple(shares)

    def glue(self, kernel_index: int, outputs: Bytes) -> Bytes:
        """The varying input of kernel `kernel_index`, (tiles, varying_bytes) uint8.

        outputs: of the kernel before it, (tiles, size_bytes) uint8.
        """
        # One buffer varies, and each other one is constant.
        input_bytes = sum(buffer.varying_bytes for buffer in self.kernels[kernel_index].inputs)
        if outputs.shape[1] >= input_bytes:
            return outputs[:, :input_bytes]
        padded = np.zeros((len(outputs), input_bytes), np.uint8)
        padded[:, : outputs.shape[1]] = outputs
        return padded

    def glue_whole(
        self, kernel_index: int, outputs: Bytes, constants: Sequence[Bytes]
    ) -> tuple[Bytes, ...]:
        """The input of `glue` with the kernel's constants: (tiles, stride_bytes) uint8 per buffer.

        constants: the bytes of the constant parts, one array per input buffer.
        """
        varying = self.glue(kernel_index, outputs)
        buffers = list[Bytes]()
        for buffer, constant in zip(self.kernels[kernel_index].inputs, constants, strict=True):
            whole = np.zeros((len(outputs), buffer.stride_bytes), np.uint8)
            if buffer.varying_bytes:
                whole[:, : buffer.varying_bytes] = varying
            whole[:, buffer.varying_bytes : buffer.size_bytes] = constant
            buffers.append(whole)
        return tuple(buffers)


def _types(dtypes: Set[str]) -> str:
    return " and ".join(sorted(dtypes))


def make_chain(kernels: Sequence[KernelSpec], links: Mapping[str, Link]) -> Chain:
    """The chain of `kernels`; links: by name of the receiving kernel, by default exact.

    RequestError if the kernels do not connect, or a name in `links` is not in the chain.
    """
    if not kernels:
        raise RequestError("workload.chain=[]: no kernel; name one or more")
    after = [kernel.name for kernel in kernels[1:]]
    for name in links:
        if name not in after:
            raise RequestError(
                f"workload.links.{name}: the chain has no kernel of this name "
                f"that takes another's output; {nearest(name, after)}"
            )
    return Chain(tuple(kernels), tuple(links.get(name, Link.exact) for name in after))
