"""The generations of NPUs that a profile can describe."""

from __future__ import annotations

from enum import Enum


class Generation(Enum):
    """The NPU of a profile, by amdxdna's name. npu1: Phoenix and Hawk Point. npu4: Strix."""

    npu1 = "npu1"
    npu4 = "npu4"

    @property
    def device_name(self) -> str:
        """The name that XRT reports."""
        return f"RyzenAI-{self.value}"

    @property
    def hidden_columns(self) -> int:
        """Columns that the device counts, but that no context can use.

        Column 0 of npu1 has no shim DMA (mlir-aie #2371).
        """
        return 1 if self is Generation.npu1 else 0
