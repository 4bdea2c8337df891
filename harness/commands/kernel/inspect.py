"""Print what an xclbin declares, and the YAML of its kernel."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.commands.kernel.read_files import (
    InstructionFile,
    XclbinFile,
    read_insts,
    read_xclbin,
)
from harness.commands.kernel.skeleton import skeleton
from harness.commands.kernel.tables import ROLES, clean, misfit, tables
from harness.commands.parser import Parser, presentation_of
from harness.commands.terminal import output, show
from harness.errors import RequestError, nearest
from harness.xclbin import XclbinKernel

FOLDER = Path("conf") / "kernel"
NAME = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)


def run(arguments: Sequence[str]) -> int:
    """Print the tables and the YAML, or write it; RequestError for files that cannot be read."""
    options = _parser().parse_intermixed_args(arguments)
    presentation = presentation_of(options)
    if options.xclbin is None:
        raise RequestError("kernel inspect needs a file: harness kernel inspect FILE.xclbin")
    file = read_xclbin(options.xclbin)
    insts = read_insts(options.insts) if options.insts else None
    kernel = _select(file, options.kernel)
    name = _name(options.name, options.xclbin)
    if options.write:
        text = _skeleton(name, file, kernel, insts)
        print_line(f"written: {_write(FOLDER / f'{name}.yaml', text)}")
        return 0
    if options.yaml:
        print_line(_skeleton(name, file, kernel, insts).rstrip("\n"))
        return 0
    whole = presentation.form in ("csv", "json")
    shown = [kernel] if kernel else [*file.container.kernels] * whole
    parts = tables(file, shown, insts)
    if presentation.for_readers:
        parts.append("")
        if kernel is None:
            parts.append("--kernel NAME prints the arguments of a kernel, and its YAML")
        elif not misfit(kernel):
            parts.append(_skeleton(name, file, kernel, insts).rstrip("\n"))
    show(parts, "kernel", presentation)
    return 0


def _parser() -> Parser:
    parser = Parser(
        "kernel inspect",
        description="Read an xclbin, without XRT and without a device: its kernels, arguments, "
        "memory banks and columns; and print the YAML of a kernel with what the file declares.",
        epilog="Exit code: 2 for a file that is no xclbin, truncated or malformed.",
        tables=True,
    )
    parser.add_argument(
        "xclbin", nargs="?", type=Path, metavar="FILE.xclbin", help="the file to read"
    )
    parser.add_argument(
        "--insts",
        type=Path,
        metavar="FILE",
        help="its instructions, which tell the arguments that the kernel reads and writes",
    )
    parser.add_argument("--kernel", metavar="NAME", help="kernel of the xclbin (the only one)")
    parser.add_argument("--name", help="name of the kernel in the harness (that of the file)")
    parser.add_argument("--yaml", action="store_true", help="print the YAML only")
    parser.add_argument(
        "--write", action="store_true", help=f"write the YAML to {FOLDER}/<name>.yaml, if not there"
    )
    return parser


def print_line(text: str) -> None:
    """Print a text; OutputError as `output`."""
    with output("kernel"):
        print(text)


def _select(file: XclbinFile, name: str | None) -> XclbinKernel | None:
    """The kernel named `name`, or the only one; None if there are several, or none."""
    kernels = {each.name: each for each in file.container.kernels}
    if name is None:
        return next(iter(kernels.values())) if len(kernels) == 1 else None
    if name not in kernels:
        raise RequestError(
            f"--kernel {name}: no such kernel in {file.path}; {nearest(name, map(clean, kernels))}"
        )
    return kernels[name]


def _name(given: str | None, path: Path) -> str:
    """The name of the kernel in the harness; RequestError if it cannot be one."""
    name = given if given is not None else re.sub(r"[^\w-]+", "_", path.stem, flags=re.ASCII)
    if not NAME.fullmatch(name):
        where = f"--name {name}" if given is not None else f"{path}: the name {name}"
        raise RequestError(
            f"{where}: not a name of a kernel; give --name with letters, digits, _ "
            "and -, and no digit first"
        )
    return name


def _skeleton(
    name: str, file: XclbinFile, kernel: XclbinKernel | None, insts: InstructionFile | None
) -> str:
    if kernel is None:
        names = ", ".join(clean(each.name) for each in file.container.kernels) or "no kernel"
        raise RequestError(f"{file.path}: contains {names}; choose one with --kernel")
    if reason := misfit(kernel):
        raise RequestError(
            f"{file.path}: kernel {clean(kernel.name)}: {reason}; {ROLES}; "
            "choose another with --kernel"
        )
    uses = insts.stream.arguments if insts and insts.stream else None
    own = Path("kernels") / name
    return skeleton(
        name, kernel, _from(own, file.path), _from(own, insts.path) if insts else "", uses
    )


def _from(folder: Path, path: Path) -> str:
    """A path for the YAML: relative to the kernel's folder if it is below it, else absolute."""
    whole, base = path.resolve(), folder.resolve()
    return (whole.relative_to(base) if whole.is_relative_to(base) else whole).as_posix()


def _write(path: Path, text: str) -> Path:
    """Write a new file; RequestError if it exists or cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise RequestError(f"{path}: already exists; give another --name, or remove it") from error
    except OSError as error:
        raise RequestError(
            f"{path}: cannot be written ({error.strerror}); start from another folder"
        ) from error
    return path
