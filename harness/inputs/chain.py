"""A chain: the kernels that a tile passes through one after the other, and the host's glue between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from harness.errors import RequestError, nearest
from harness.kernel import Bytes, KernelSpec


class Link(Enum):
    """How a kernel's varying input is made of the output before it.

    exact: the same bytes. first: the first bytes of a longer output. pad: a shorter output and zeros after it.
    """

    exact = "exact"
    first = "first"
    pad = "pad"

    def fits(self, given_bytes: int, taken_bytes: int) -> bool:
        """Whether an output of `given_bytes` makes an input of `taken_bytes`."""
        if self is Link.exact:
            return given_bytes == taken_bytes
        return given_bytes > taken_bytes if self is Link.first else given_bytes < taken_bytes


@dataclass(frozen=True)
class Chain:
    """`kernels` in order; links[k] leads from kernel k to kernel k + 1. RequestError where the bytes do not connect."""

    kernels: tuple[KernelSpec, ...]
    links: tuple[Link, ...] = ()

    def __post_init__(self) -> None:
        for number, link in enumerate(self.links):
            before, after = self.kernels[number], self.kernels[number + 1]
            if len(after.inputs) != 1:
                raise RequestError(
                    f"workload.chain: {after.name} takes {len(after.inputs)} input buffers; after another kernel it "
                    "can take one only"
                )
            given, taken = before.output.size_bytes, after.inputs[0].varying_bytes
            if not link.fits(given, taken):
                fitting = next(each for each in Link if each.fits(given, taken))
                raise RequestError(
                    f"workload.links.{after.name}={link.value}: {before.name} gives {given} bytes and {after.name} "
                    f"takes {taken}, without its constants; allowed: {fitting.value}"
                )

    @property
    def name(self) -> str:
        """The kernels' names: `attention+layernorm`."""
        return "+".join(kernel.name for kernel in self.kernels)

    def columns(self, wanted: int, contexts: int) -> tuple[int, ...]:
        """Columns that each kernel's tiles are dealt over, a context each: `wanted`, where there are contexts for all.

        Else every kernel has one, and the others go one by one to the kernel with most operations per column.
        RequestError where there are not even so many, or a kernel alone wants more than there are.
        """
        if len(self.kernels) == 1 and wanted > contexts:
            raise RequestError(
                f"strategy.columns={wanted}: takes a context for each column; the device has {contexts}: use 1 to "
                f"{contexts}"
            )
        if len(self.kernels) > contexts:
            raise RequestError(
                f"workload.chain: {self.name} needs a context for each kernel, {len(self.kernels)}; the device has "
                f"{contexts}: make the chain shorter"
            )
        dealt = [1] * len(self.kernels)
        for _ in range(contexts - len(self.kernels)):
            open_to = [index for index, columns in enumerate(dealt) if columns < wanted]
            if open_to:
                busiest = max(open_to, key=lambda index: self.kernels[index].ops / dealt[index])
                dealt[busiest] += 1
        return tuple(dealt)

    def glue(self, kernel_index: int, outputs: Bytes) -> Bytes:
        """What kernel `kernel_index` takes of the outputs (tiles, size_bytes) before it: (tiles, varying_bytes) uint8."""
        taken = self.kernels[kernel_index].inputs[0].varying_bytes
        if outputs.shape[1] >= taken:
            return outputs[:, :taken]
        padded = np.zeros((len(outputs), taken), np.uint8)
        padded[:, : outputs.shape[1]] = outputs
        return padded


def make_chain(kernels: Sequence[KernelSpec], links: Mapping[str, Link]) -> Chain:
    """The chain of `kernels`, linked exactly where `links`, by name of the kernel that takes, says nothing else."""
    if not kernels:
        raise RequestError("workload.chain=[]: no kernel; name one or more")
    after = [kernel.name for kernel in kernels[1:]]
    for name in links:
        if name not in after:
            raise RequestError(
                f"workload.links.{name}: no kernel of the chain that takes another's output; {nearest(name, after)}"
            )
    return Chain(tuple(kernels), tuple(links.get(name, Link.exact) for name in after))
