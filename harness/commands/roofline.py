"""Compare kernels, workloads and stored runs with the peak and the bandwidth of a device."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from harness.commands.closing import OUTPUTS
from harness.commands.draw_process import failure
from harness.commands.hydra_argv import check_config_dir
from harness.commands.mlflow_runs import is_override
from harness.commands.parser import Parser, presentation_of
from harness.commands.stored import load_runs
from harness.commands.terminal import say, show
from harness.config.compose import load
from harness.config.device import Simulator
from harness.config.presets import kernels, presets
from harness.config.workload import Accounting
from harness.errors import RequestError, nearest
from harness.kernel import load_kernel
from harness.kernel.folders import looking_in
from harness.report.pictures.files import save
from harness.report.pictures.roofline import FILE_NAME, RooflinePicture
from harness.report.roofline import roofline_parts
from harness.study.roofline import (
    Point,
    chain_point,
    kernel_point,
    placed,
    roofs_of,
    run_point,
)

HELP = "compare kernels and runs with a device's peak and bandwidth"
DEVICE = "device=phoenix_2026"
"""The device without an override: the guide's profile has no bandwidth."""
ROWS = ("workload", "workload.kernel", "workload.chain", "workload.model")
"""Keys that say what a run runs; here the names do."""


def _parser() -> Parser:
    parser = Parser(
        "roofline",
        description="Compare kernels, workloads and stored runs with the peak and the bandwidth of "
        "a simulated device, as a table and a picture.",
        epilog="Example: python -m harness roofline attention gelu strategy.columns=4",
        tables=True,
    )
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME_OR_FOLDER",
        help="kernel, workload, or folder of a run or of a sweep (all kernels with a time)",
    )
    parser.add_argument(
        "--picture",
        type=Path,
        default=OUTPUTS / FILE_NAME,
        metavar="FILE",
        help="the picture (%(default)s)",
    )
    parser.add_config_dir()
    return parser


def main(arguments: Sequence[str]) -> int:
    """Print the table and draw the picture."""
    options = _parser().parse_intermixed_args(arguments)
    check_config_dir(options.config_dir)
    with looking_in(options.config_dir):
        return _compare(options)


def _compare(options: Namespace) -> int:
    presentation = presentation_of(options)
    overrides = [each for each in options.names if is_override(each)]
    names = [each for each in options.names if not is_override(each)]
    for each in overrides:
        if each.lstrip("+~").partition("=")[0] in ROWS:
            raise RequestError(
                f"{each}: names no row here; give kernels, workloads and folders without a key, as "
                "in: harness roofline attention gelu"
            )
    if not any(each.startswith("device=") for each in overrides):
        overrides = [DEVICE, *overrides]
    # Keys of a workload may fit only the named one.
    workloads = {each.name for each in presets("workload")}
    first = [f"workload={each}" for each in names if each in workloads and not Path(each).exists()]
    config = load("tracking=off", *overrides, *first[:1])
    device, columns = config.device, config.strategy.columns
    if not isinstance(device, Simulator):
        raise RequestError(
            f"device={device.kind}: has no profile with a peak; name a simulated device, as in "
            f"{DEVICE}"
        )
    points = list[Point]()
    for name in names:
        points += _named(name, device, columns, overrides)
    if not names:
        points = _all_kernels(device, columns)
    # A kernel may also be part of a workload.
    rows = [placed(each, device) for each in dict.fromkeys(points)]
    roofs = [roofs_of(device, each) for each in sorted({point.columns for point in points})]
    parts = roofline_parts(rows, roofs[-1], f"device={device.profile or device.kind}")
    code = 0
    title = f"Roofline of {device.profile or device.kind} at {device.mhz:,} MHz"
    picture = RooflinePicture(options.picture, rows, roofs, title)
    try:
        options.picture.parent.mkdir(parents=True, exist_ok=True)
        written = save(picture)
        parts += [f"written: {written}"] * presentation.for_readers
    except (ImportError, ValueError) as error:  # no matplotlib, or no point to draw
        say(failure(picture, error))
    except OSError as error:
        say(f"--picture {options.picture}: cannot be written ({error}); give another file")
        code = 1
    show(parts, "roofline", presentation)
    return code


def _named(name: str, device: Simulator, columns: int, overrides: Sequence[str]) -> list[Point]:
    """The points of a kernel, a workload or stored runs; RequestError if it is none of them."""
    if Path(name).exists():
        return _runs(Path(name), device)
    workloads = [each.name for each in presets("workload")]
    if name in workloads:
        config = load("tracking=off", *overrides, f"workload={name}")
        # A chain may have a kernel twice.
        found = [
            kernel_point(device, load_kernel(each), columns) for each in config.workload.kernels
        ]
        # With full accounting, no tile passes through all kernels.
        is_chain = config.workload.accounting is Accounting.guide and len(found) > 1
        return [*found, chain_point(name, found)] if is_chain else found
    names = [each.name for each in kernels()]
    if name not in names:
        choices = dict.fromkeys([*names, *workloads])
        raise RequestError(f"{name}: no folder, kernel or workload; {nearest(name, choices)}")
    return [kernel_point(device, load_kernel(name), columns)]


def _runs(path: Path, device: Simulator) -> list[Point]:
    """The points of stored runs. Those that have none are reported; RequestError if all are.

    Runs of another device than that of the roofs are reported too.
    """
    points, left_out = list[Point](), list[str]()
    others = dict[str, None]()
    for record, _ in load_runs([path]):
        ran_on = record.config.get("device", {}).get("profile") or record.device
        if ran_on != device.profile:
            others[ran_on] = None
        try:
            points.append(run_point(record, f"{record.kernel} {record.label}"))
        except RequestError as error:
            left_out.append(str(error))
    if not points:
        raise RequestError(left_out[0])
    for line in left_out:
        say(line)
    for other in others:
        say(f"{path}: has runs of device={other}; the roofs are those of device={device.profile}")
    return points


def _all_kernels(device: Simulator, columns: int) -> list[Point]:
    """Those of which the profile or their cost gives a time."""
    points = list[Point]()
    for each in kernels():
        spec = load_kernel(each.name)
        if spec.name in device.exec_ns or spec.cost is not None:
            points.append(kernel_point(device, spec, columns))
    return points
