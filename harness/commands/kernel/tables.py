"""The tables of what an xclbin and its instructions declare."""

from __future__ import annotations

from collections.abc import Sequence

from harness.commands.kernel.read_files import InstructionFile, XclbinFile
from harness.device.xrt.instruction_stream import GENERATIONS
from harness.kernel import FIRST_DATA_ARGUMENT
from harness.report.tables import NOTHING, Part, Sheet, hidden, left, number, right
from harness.xclbin import NO_BANK, QUALIFIERS, Container, XclbinKernel

LONG = 64
"""Characters of a name in a table; an xclbin may hold a name of any length."""


ROLES = "the harness passes opcode, instructions and their size as arguments 0 to 2"
"""As every kernel of mlir-aie takes them."""


def misfit(kernel: XclbinKernel) -> str:
    """Why the harness cannot run a kernel; empty if it can. See ROLES."""
    for argument, is_bo in zip(kernel.arguments, (False, True, False), strict=False):
        if argument.is_bo != is_bo:
            kind = "a buffer" if argument.is_bo else "a value"
            return f"argument {argument.index} ({clean(argument.name)}) is {kind}"
    if len(kernel.arguments) <= FIRST_DATA_ARGUMENT:
        return f"{len(kernel.arguments)} arguments, none for data"
    return ""


def tables(
    file: XclbinFile, shown: Sequence[XclbinKernel], insts: InstructionFile | None
) -> list[Part]:
    """The tables of a file; shown: the kernels whose arguments are listed."""
    parts: list[Part] = [_properties(file), "", _kernels(file)]
    if shown:
        parts += ["", _arguments(shown, file.container, insts)]
    parts += ["", _banks(file.container)]
    return parts + (["", _instructions(insts, shown)] if insts else [])


def _properties(file: XclbinFile) -> Sheet:
    container, partition = file.container, file.partition
    sheet = Sheet("file", left("xclbin"), left(clean(str(file.path)), "value"))
    sheet.add("uuid", container.uuid)
    sheet.add("platform", clean(container.xsa_name) or NOTHING)
    sheet.add("columns", number(container.columns, "{}"))
    if partition:
        sheet.add("begins at column", " ".join(map(str, partition.start_columns)) or NOTHING)
        sheet.add("operations per cycle", number(partition.operations_per_cycle, "{}"))
        sheet.add("images (PDIs)", number(len(partition.images), "{}"))
        total = sum(image.size_bytes for image in partition.images)
        sheet.add("bytes of images", number(total, "{}"))
    return sheet


def _kernels(file: XclbinFile) -> Sheet:
    columns = left("kernel"), right("arguments"), right("bos"), left("DPU id", "dpu_id")
    sheet = Sheet("kernels", *columns, right("image bytes", "image_bytes"), left("can run"))
    for each in file.container.kernels:
        image = file.image_of(each)
        sheet.add(
            clean(each.name),
            number(len(each.arguments), "{}"),
            number(sum(argument.is_bo for argument in each.arguments), "{}"),
            NOTHING if each.dpu_id is None else hex(each.dpu_id),
            number(image.size_bytes if image else None, "{}"),
            f"no: {reason}" if (reason := misfit(each)) else "yes",
        )
    return sheet


def _arguments(
    kernels: Sequence[XclbinKernel], container: Container, insts: InstructionFile | None
) -> Sheet:
    uses = insts.stream.arguments if insts and insts.stream else None
    several = len(kernels) > 1
    columns = left("argument", "name"), left("type"), left("qualifier"), right("bytes")
    sheet = Sheet(
        "arguments",
        left("kernel") if several else hidden("kernel"),
        *(right("#", "index"), *columns, left("bank")),
        left("instructions") if uses is not None else hidden("instructions"),
    )
    for owner, each in ((kernel, each) for kernel in kernels for each in kernel.arguments):
        bank = NOTHING if each.bank == NO_BANK else container.banks[each.bank].tag
        sheet.add(
            clean(owner.name),
            number(each.index, "{}"),
            clean(each.name),
            clean(each.type),
            QUALIFIERS[each.qualifier],
            number(each.size_bytes, "{}"),
            clean(bank),
            ", ".join(sorted((uses or {}).get(each.index, ()))) or NOTHING,
        )
    return sheet


def _banks(container: Container) -> Sheet:
    sheet = Sheet("banks", left("bank"), right("KiB"), right("address"), left("used"))
    for each in container.banks:
        sheet.add(
            clean(each.tag),
            number(each.size_kb, "{}"),
            number(each.base_address, "{:#x}"),
            "yes" if each.used else "no",
        )
    return sheet


def _instructions(insts: InstructionFile, kernels: Sequence[XclbinKernel]) -> Sheet:
    sheet = Sheet("instructions", left("instructions"), left(clean(str(insts.path)), "value"))
    sheet.add("bytes", number(insts.size_bytes, "{}"))
    sheet.add("form", "hexadecimal text" if insts.is_text else "binary")
    stream = insts.stream
    if stream is None:
        sheet.add("header", "unknown version")
        return sheet
    sheet.add("device", GENERATIONS.get(stream.generation, f"generation {stream.generation}"))
    sheet.add("columns of the device", number(stream.columns, "{}"))
    sheet.add("operations", number(stream.operations, "{}"))
    for problem in instruction_problems(insts, kernels[0] if len(kernels) == 1 else None):
        sheet.add("wrong", problem, wrong=True)
    return sheet


def instruction_problems(insts: InstructionFile, kernel: XclbinKernel | None) -> list[str]:
    """Why instructions are not whole, or do not fit the kernel."""
    stream, problems = insts.stream, list[str]()
    if stream and insts.size_bytes != stream.size_bytes:
        problems.append(f"{insts.size_bytes} bytes; the header states {stream.size_bytes}")
    last = max(stream.arguments, default=0) if stream and stream.arguments else 0
    if kernel and last >= len(kernel.arguments):
        problems.append(
            f"they use argument {last}; kernel {clean(kernel.name)} declares 0 to "
            f"{len(kernel.arguments) - 1}"
        )
    return problems


def clean(text: str) -> str:
    """A text of a file for a terminal: on one line, without control characters, and not long.

    >>> clean("a" + chr(10) + "b"), clean("x" * 65)[-4:]
    ('a?b', 'x...')
    """
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= LONG else shown[: LONG - 3] + "..."
