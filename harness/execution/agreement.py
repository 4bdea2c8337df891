"""How close outputs are to the expected ones, and what these expected outputs are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from math import isfinite

from harness.kernel import KernelSpec


class Oracle(Enum):
    """What outputs are compared with.

    reference: the kernels' references. device: the outputs of a serial pass on the same device.
    off: nothing.
    """

    reference = "reference"
    device = "device"
    off = "off"


@dataclass(frozen=True)
class Agreement:
    """How close the outputs of a kernel with a tolerance are, over all passes that were compared.

    tolerance: in words; reason: why outputs may differ. text: where they lie in it. largest: the
    largest error, in the unit of the tolerance; None if no tolerance allows it.
    """

    kernel: str
    tolerance: str
    reason: str
    text: str
    largest: float | None


@dataclass(frozen=True)
class Verification:
    """How outputs were verified.

    agreements: of kernels with a tolerance. remarks: errors that the comparison cannot detect.
    """

    oracle: Oracle
    agreements: tuple[Agreement, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Extreme:
    """The largest error of the outputs of a kernel so far.

    largest, outside: as in `harness.kernel.difference.Difference`, the largest of all tiles. place:
    where the largest error is; empty if all bits are as expected.
    """

    spec: KernelSpec
    largest: float = 0.0
    outside: float = 0.0
    place: str = ""

    def or_worse(self, other: Extreme) -> Extreme:
        """The larger one of both; `outside` is the larger of both."""
        worse = other if other.largest > self.largest else self
        return replace(worse, outside=max(self.outside, other.outside))

    @property
    def text(self) -> str:
        """Where the outputs lie: `largest error 3 ulps of 4 allowed, at tile 7 out[3, 5]`."""
        at = f", at {self.place}" if self.place else ""
        return self.spec.tolerance.place(self.largest, self.outside) + at

    @property
    def agreement(self) -> Agreement:
        """As a record stores it."""
        tolerance = self.spec.tolerance
        largest = self.largest if isfinite(self.largest) else None
        return Agreement(self.spec.name, tolerance.text, tolerance.reason, self.text, largest)
