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
INTEGERS = ("int", "int32_t", "unsigned int", "uint32_t", "signed int")
"""C types of the numbers that a declaration allows; XRT takes integers only from Python."""
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
        f"insts: {scalar(insts)}" if insts else "# insts: FILE  # if not beside the xclbin",
        f"kernel: {scalar(kernel.name)}",
        "arguments:  # from argument 3 on; 0 to 2 are the opcode, the instructions and their size",
    ]
    names = set[str]()
    for argument in kernel.arguments[FIRST_DATA_ARGUMENT:]:
        label = _identifier(argument, names)
        lines += _argument(argument, label, uses)
    lines += [
        f"# reference: reference:{name}  # module:function in kernels/{name}/, with numpy",
        "tolerance: {kind: exact}",
        "ops:  # fill in: arithmetic operations of one execution",
        "cost: {ns: }  # fill in: time of one execution on the simulator",
    ]
    return "\n".join(lines) + "\n"


def _identifier(argument: Argument, names: set[str]) -> str:
    """A name of letters, digits and _ that is not yet in `names`, to which it is added."""
    name = re.sub(r"\W", "_", argument.name, flags=re.ASCII)
    if not name or name[0].isdigit() or name in names:
        name = f"argument_{argument.index}"
    names.add(name)
    return name


def _argument(
    argument: Argument, label: str, uses: Mapping[int, frozenset[str]] | None
) -> list[str]:
    name = f"  - name: {scalar(label)}"
    if argument.qualifier == SCALAR:
        known_type = argument.type in INTEGERS
        return [
            name,
            "    direction: scalar",
            "    dtype: int32" if known_type else "    dtype:  # fill in: int32 is allowed",
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
