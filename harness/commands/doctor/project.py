"""Checks of what the harness needs: kernel files, disk space, the MLflow store."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from harness.commands.doctor.check import Check, Subject, fail, ok, warn
from harness.config.schema import TrackingKind
from harness.device.xrt.files import columns_of, kernel_files
from harness.device.xrt.open_kernel import check_columns, kernel_of
from harness.errors import RequestError
from harness.kernel import KernelSpec, load_kernel
from harness.kernel import kernel_names as all_kernels
from harness.units import BYTES_PER_MIB

OUTPUTS = Path("outputs")
LITTLE_BYTES, TOO_LITTLE_BYTES = 1024 * BYTES_PER_MIB, 16 * BYTES_PER_MIB
"""Free space that a sweep of long runs may fill; what MLflow's database and a record take."""
SQLITE = "sqlite:///"
SQLITE_MAGIC = b"SQLite format 3\0"
SERVER_TIMEOUT_S = 3


def kernel_names(workload: Sequence[str]) -> list[str]:
    """The workload's kernels, then the others, variants included."""
    return list(dict.fromkeys([*workload, *all_kernels()]))


def check_kernel(subject: Subject, name: str) -> Check:
    """Whether a kernel's files exist and fit its spec; only the workload's kernels can fail."""
    title, bad = f"kernel {name}", fail if name in subject.config.workload.kernels else warn
    try:
        spec = load_kernel(name)
        path, instructions = kernel_files(subject.device, spec)
        declared = _declared(path, spec)
        check_columns(path, columns_of(path), subject.device.columns)
    except (RequestError, OSError, ValueError) as error:
        # Messages are `finding; remedy` everywhere.
        finding, _, remedy = str(error).partition("; ")
        return bad(title, finding, remedy or "build it again")
    return ok(title, f"{path}: {declared}; {instructions.nbytes} bytes of instructions")


def _declared(path: str, spec: KernelSpec) -> str:
    """What an xclbin declares about a kernel, read without XRT.

    RequestError if the kernel cannot be run from it.
    """
    from harness.sim.kernel_model import read_models
    from harness.sim.xclbin import xclbin

    try:
        images, container = read_models(None, path)
    except RuntimeError as error:
        raise RequestError(f"{path}: {error}; build kernel {spec.name} again") from error
    kernels = [xclbin.xclbinkernel(image) for image in images]
    # The same rules as for a run, on the metadata that XRT would return.
    name = kernel_of(SimpleNamespace(get_kernels=lambda: kernels), path, spec)
    declared = next(each.get_num_args() for each in kernels if each.get_name() == name)
    width = f", {container.columns} column(s) wide" if container and container.columns else ""
    return f"{name}, {declared} arguments of which {spec.used_arguments} are used{width}"


def check_disk(subject: Subject) -> Check:
    """Whether outputs/ can be written, and how much space is free."""
    folder = OUTPUTS.absolute()
    # outputs/ may not exist before the first run.
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return fail(
            "disk space",
            f"{folder} cannot be written",
            "start from another folder, or give hydra.run.dir",
        )
    free = shutil.disk_usage(existing).free
    finding = f"{free / BYTES_PER_MIB / 1024:.1f} GiB free for {folder}"
    if free < TOO_LITTLE_BYTES:
        return fail("disk space", finding, "free space")
    return (
        ok("disk space", finding)
        if free >= LITTLE_BYTES
        else warn("disk space", finding, "free space")
    )


def check_tracking(subject: Subject) -> Check:
    """Whether the MLflow store can be used; without it runs work and store their records."""
    wanted = subject.config.tracking
    if wanted.kind is TrackingKind.off:
        return ok("MLflow", "off")
    wrong = _file(wanted.uri) if wanted.kind is TrackingKind.local else _server(wanted.uri)
    if not wrong:
        return ok("MLflow", wanted.uri)
    remedy = "records are stored without it; tracking=off leaves MLflow out"
    return warn("MLflow", f"tracking.uri={wanted.uri}: {wrong}", remedy)


def _file(uri: str) -> str:
    """What is wrong with a store in a sqlite file, which may not exist yet; empty if nothing is."""
    path = Path(uri.removeprefix(SQLITE)).absolute()
    existing = next(each for each in (path, *path.parents) if each.exists())
    if existing != path:
        fine = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
        return "" if fine else f"{existing} cannot be written"
    if (
        not path.is_file()
        or not os.access(path, os.R_OK | os.W_OK)
        or not os.access(path.parent, os.W_OK)
    ):
        return "the file, or its folder, cannot be written"
    with path.open("rb") as file:
        head = file.read(len(SQLITE_MAGIC))
    # sqlite takes an empty file for a new database.
    return "" if head in (b"", SQLITE_MAGIC) else "the file is not a sqlite database"


def _server(uri: str) -> str:
    """What is wrong with a server; empty if it answers as an MLflow server does."""
    try:
        with urllib.request.urlopen(
            f"{uri.rstrip('/')}/health", timeout=SERVER_TIMEOUT_S
        ) as answer:
            return "" if answer.status == 200 else f"answers {answer.status}"
    except urllib.error.HTTPError as error:
        # An HTTPError holds the connection.
        error.close()
        return f"answers {error.code} {error.reason}"
    except (OSError, ValueError) as error:
        return f"no answer ({getattr(error, 'reason', error)})"
