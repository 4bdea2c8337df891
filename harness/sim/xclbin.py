"""uuid and xclbin, as pyxrt has them."""

from __future__ import annotations

import re
import uuid as uuids
from typing import Any

from harness import xclbin as axlf
from harness.sim.kernel_model import KernelModel, read_models
from harness.sim.machine import Machine
from harness.sim.pybind import INT32, UINT64, PybindObject, as_text, incompatible

machines: list[Machine] = []
"""What is plugged in."""
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NO_UUID = str(uuids.UUID(int=0))


class uuid(PybindObject):
    """Identity of an xclbin."""

    def __init__(self, text: str, /) -> None:
        if text is None:
            raise RuntimeError("basic_string: construction from null is not valid")
        content = as_text(text)
        if content is None:
            raise incompatible("__init__", ("pyxrt.uuid(arg0: str)",), (text,))
        # Of a malformed text the real one keeps whatever bytes were there.
        self._text = content.lower() if _UUID.fullmatch(content) else _NO_UUID

    def to_string(self) -> str:
        """The canonical text."""
        return self._text


class xclbin(PybindObject):
    """An xclbin file: what its metadata tells, and the kernels that the machine knows its path to stand for."""

    class xclbinip(PybindObject):
        """A compute unit of an xclbin; pyxrt hands out none."""

        def get_name(self) -> str:
            """Name."""
            return ""

    class xclbinkernel(PybindObject):
        """One kernel of an xclbin."""

        def __init__(self, *given: KernelModel) -> None:
            if given and not isinstance(given[0], KernelModel):
                raise incompatible("__init__", ("pyxrt.xclbin.xclbinkernel()",), given)
            self._model = given[0] if given else KernelModel("", 0, ())

        def get_name(self) -> str:
            """Name, as `kernel(context, name)` takes it."""
            return self._model.name

        def get_num_args(self) -> int:
            """Number of arguments, opcode and instructions included."""
            return len(self._model.banks)

    class xclbinmem(PybindObject):
        """A memory bank."""

        def __init__(self, *given: Any) -> None:
            if given and not isinstance(given[0], axlf.Bank):
                raise incompatible("__init__", ("pyxrt.xclbin.xclbinmem()",), given)
            self._bank: axlf.Bank = given[0] if given else axlf.Bank("", UINT64[1], 0, False, 0)
            self._index: int = given[1] if given else INT32[1]

        def get_tag(self) -> str:
            """Name."""
            return self._bank.tag

        def get_base_address(self) -> int:
            """Address of its first byte."""
            return self._bank.base_address

        def get_size_kb(self) -> int:
            """Size in KiB."""
            return self._bank.size_kb

        def get_used(self) -> bool:
            """Whether a kernel uses it."""
            return self._bank.used

        def get_index(self) -> int:
            """Its number, as group ids count."""
            return self._index

    def __init__(self, *given: str, **named: str) -> None:
        self._models: list[KernelModel] = []
        self._container: axlf.Container | None = None
        self._uuid = uuid("")
        if not given and not named:
            return
        path = as_text(given[0]) if len(given) == 1 and not named else None
        if path is None:
            forms = "pyxrt.xclbin()", "pyxrt.xclbin(arg0: str)", "pyxrt.xclbin(arg0: axlf)"
            raise incompatible("__init__", forms, given, named)
        if not path:
            raise RuntimeError("No xclbin specified")
        self._models, self._container = read_models(machines[0] if machines else None, path)
        self._uuid = uuid(
            self._container.uuid if self._container else str(uuids.uuid5(uuids.NAMESPACE_URL, path))
        )

    def get_kernels(self) -> list[xclbinkernel]:
        """The kernels inside."""
        return [self.xclbinkernel(model) for model in self._models]

    def get_mems(self) -> list[xclbinmem]:
        """The memory banks that it declares."""
        banks = self._container.banks if self._container else ()
        return [self.xclbinmem(bank, index) for index, bank in enumerate(banks)]

    def get_xsa_name(self) -> str:
        """The platform it was built for."""
        return self._container.xsa_name if self._container else ""

    def get_uuid(self) -> uuid:
        """Its identity."""
        return uuid(self._uuid.to_string())

    def get_axlf(self) -> None:
        """Cannot be called from Python: pyxrt knows no type for what it returns."""
        raise TypeError(
            "Unable to convert function return value to a Python type! The signature was\n\t"
            "(self: pyxrt.xclbin) -> axlf"
        )
