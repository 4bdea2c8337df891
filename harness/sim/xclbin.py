"""`pyxrt.uuid` and `pyxrt.xclbin`."""

from __future__ import annotations

import re
import uuid as uuids
from typing import Any

from harness import xclbin as axlf
from harness.sim.kernel_model import KernelModel, read_models
from harness.sim.machine import Machine
from harness.sim.pybind import INT32, UINT64, PybindObject, as_text, incompatible

machines: list[Machine] = []
"""The devices that pyxrt sees, by index; `harness.sim.device.plug` sets it."""
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NO_UUID = str(uuids.UUID(int=0))


class uuid(PybindObject):
    """Identity of an xclbin."""

    def __init__(self, text: str, /) -> None:
        # std::string takes None as a null pointer.
        if text is None:
            raise RuntimeError("basic_string: construction from null is not valid")
        content = as_text(text)
        if content is None:
            raise incompatible("__init__", ("pyxrt.uuid(arg0: str)",), (text,))
        # For a malformed text, the real uuid is made of uninitialised bytes.
        self._text = content.lower() if _UUID.fullmatch(content) else _NO_UUID

    def to_string(self) -> str:
        """Return the canonical text, in lower case."""
        return self._text


class xclbin(PybindObject):
    """An xclbin file: its metadata, and the simulator's models of its kernels."""

    class xclbinip(PybindObject):
        """A compute unit of an xclbin; no function of pyxrt returns one."""

        def get_name(self) -> str:
            """Return the name, which is empty."""
            return ""

    class xclbinkernel(PybindObject):
        """One kernel of an xclbin."""

        def __init__(self, *args: KernelModel) -> None:
            if args and not isinstance(args[0], KernelModel):
                raise incompatible("__init__", ("pyxrt.xclbin.xclbinkernel()",), args)
            self._model = args[0] if args else KernelModel("", 0, ())

        def get_name(self) -> str:
            """Return the name, as `kernel(context, name)` takes it."""
            return self._model.name

        def get_num_args(self) -> int:
            """Return the number of arguments, including the opcode and the instructions."""
            return len(self._model.banks)

    class xclbinmem(PybindObject):
        """A memory bank."""

        def __init__(self, *args: Any) -> None:
            if args and not isinstance(args[0], axlf.Bank):
                raise incompatible("__init__", ("pyxrt.xclbin.xclbinmem()",), args)
            self._bank: axlf.Bank = args[0] if args else axlf.Bank("", UINT64[1], 0, False, 0)
            self._index: int = args[1] if args else INT32[1]

        def get_tag(self) -> str:
            """Return the name of the bank."""
            return self._bank.tag

        def get_base_address(self) -> int:
            """Return the address of the first byte."""
            return self._bank.base_address

        def get_size_kb(self) -> int:
            """Return the size in KiB."""
            return self._bank.size_kb

        def get_used(self) -> bool:
            """Return whether a kernel uses the bank."""
            return self._bank.used

        def get_index(self) -> int:
            """Return the index of the bank, as in group ids."""
            return self._index

    def __init__(self, *args: str, **kwargs: str) -> None:
        self._models: list[KernelModel] = []
        self._container: axlf.Container | None = None
        self._uuid = uuid("")
        if not args and not kwargs:
            return
        path = as_text(args[0]) if len(args) == 1 and not kwargs else None
        if path is None:
            forms = "pyxrt.xclbin()", "pyxrt.xclbin(arg0: str)", "pyxrt.xclbin(arg0: axlf)"
            raise incompatible("__init__", forms, args, kwargs)
        if not path:
            raise RuntimeError("No xclbin specified")
        self._models, self._container = read_models(machines[0] if machines else None, path)
        # A file without metadata gets a uuid from its path, so that every path has its own.
        identity = uuids.uuid5(uuids.NAMESPACE_URL, path)
        self._uuid = uuid(self._container.uuid if self._container else str(identity))

    def get_kernels(self) -> list[xclbinkernel]:
        """Return the kernels."""
        return [self.xclbinkernel(model) for model in self._models]

    def get_mems(self) -> list[xclbinmem]:
        """Return the memory banks that the file declares."""
        banks = self._container.banks if self._container else ()
        return [self.xclbinmem(bank, index) for index, bank in enumerate(banks)]

    def get_xsa_name(self) -> str:
        """Return the name of the platform that the file was built for."""
        return self._container.xsa_name if self._container else ""

    def get_uuid(self) -> uuid:
        """Return the uuid of the file."""
        return uuid(self._uuid.to_string())

    def get_axlf(self) -> None:
        """Raise TypeError: the type that it returns has no conversion to Python."""
        raise TypeError(
            "Unable to convert function return value to a Python type! The signature was\n\t"
            "(self: pyxrt.xclbin) -> axlf"
        )
