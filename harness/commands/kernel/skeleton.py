"""The YAML of a kernel, as far as its xclbin and its instructions declare it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import yaml

from harness.device.xrt.instruction_stream import READS, WRITES
from harness.kernel import DTYPES, FIRST_DATA_ARGUMENT
from harness.xclbin import SCALAR, Argument, XclbinKernel

FILL_DTYPE = f"    dtype:  # fill in: {', '.join(DTYPES)}"
DIRECTIONS = {
    frozenset({READS}): "in  # the instructions read it; constant if all tiles share it",
    frozenset({WRITES}): "out  # the instructions write it",
    frozenset({READS, WRITES}): "inout  # the instructions read and write it",
}
"""Direction of an argument by what the instructions do with it."""
SCALAR_DTYPES = dict.fromkeys(
    ("int", "int32_t", "unsigned int", "uint32_t", "signed int"), "int32"
) | {"float": "float32"}
PLAIN = re.compile(r"[\w./-]+", re.ASCII)


def skeleton(
    name: str,
    kernel: XclbinKernel,
    xclbin: str,
    insts: str = "",
    uses: Mapping[int, frozenset[str]] | None = None,
) -> str:
    """The text of conf/kernel/<name>.yaml; `# fill in` marks what the files do not declare.

    xclbin, insts: paths for the YAML. uses: as in `Stream.arguments`.
    """
    lines = [
        "# Describe the kernel here, in one line.",
        f"xclbin: {scalar(xclbin)}",
        f"insts: {scalar(insts)}" if insts else "# insts: FILE  # its instructions",
        f"kernel: {scalar(kernel.name)}",
        "arguments:  # from argument 3 on; 0 to 2 are the opcode, the instructions and their size",
    ]
    for argument in kernel.arguments[FIRST_DATA_ARGUMENT:]:
        lines += _argument(argument, uses)
    lines += [
        f"# reference: reference:{name}  # module:function in kernels/{name}/, with numpy",
        "tolerance: {kind: exact}",
        "ops:  # fill in: arithmetic operations of one execution",
        "cost: {ns: }  # fill in: time of one execution on the simulator",
    ]
    return "\n".join(lines) + "\n"


def _argument(argument: Argument, uses: Mapping[int, frozenset[str]] | None) -> list[str]:
    name = f"  - name: {scalar(argument.name)}"
    if argument.qualifier == SCALAR:
        dtype = SCALAR_DTYPES.get(argument.type)
        return [
            name,
            "    direction: scalar",
            f"    dtype: {dtype}" if dtype else FILL_DTYPE,
            "    value:  # fill in",
        ]
    if uses is not None and argument.index not in uses:
        return [name, "    direction: unused  # the instructions do not use it"]
    known = DIRECTIONS.get((uses or {}).get(argument.index, frozenset()))
    return [
        name,
        f"    direction: {known}"
        if known
        else "    direction:  # fill in: in, out, inout, constant or unused",
        FILL_DTYPE,
        "    shape:  # fill in, such as [64, 64]",
    ]


def scalar(text: str) -> str:
    """A text as a YAML scalar: plain if that gives the same text, else quoted.

    >>> scalar("relu_4x8"), scalar("yes"), scalar("a: b")
    ('relu_4x8', '"yes"', '"a: b"')
    """
    if PLAIN.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    return json.dumps(text)
