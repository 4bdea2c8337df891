"""Fit the profile of a device to records of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from harness.commands.mlflow_runs import named_runs, take_tracking
from harness.commands.parser import Parser, presentation_of
from harness.commands.terminal import show
from harness.config.compose import load
from harness.config.device import Simulator
from harness.errors import HarnessError, RequestError
from harness.measure.stats import spread
from harness.report.tables import Part, Sheet, left, number, right
from harness.results.whole_file import write_text
from harness.study.calibration import Calibration, calibrate
from harness.study.residuals import NOISY_SPREAD, contradictions, noise
from harness.units import ns_to_ms

HELP = "fit the simulator's profile to records of a device"
START = "simulator"


def _parser() -> Parser:
    parser = Parser(
        "calibrate",
        description="Fit the costs of a simulated device to records of serial, pipelined and batch "
        "runs, so that the simulator and the model predict that device.",
        epilog="Example: python -m harness calibrate outputs/2026-01-31/10-00-00-000000 "
        "--out my_conf/device/mine.yaml, then: python -m harness --config-dir my_conf device=mine",
        tables=True,
    )
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="RUN_OR_SWEEP",
        help="folder of a run or of a sweep, a record.json, or the id of an MLflow run",
    )
    parser.add_argument(
        "--check",
        action="append",
        default=[],
        type=Path,
        metavar="RUN_OR_SWEEP",
        help="records to predict and not to fit; may be given several times",
    )
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="KEY",
        help="number that keeps its value, such as sync_ns_per_mib; may be given several times",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="YAML file for the profile")
    return parser


def report(result: Calibration) -> list[Part]:
    """The parts to print, from top to bottom."""
    numbers = Sheet(
        "numbers",
        left("number"),
        right("value"),
        right("+- 95 %", "uncertainty"),
        right(f"device={START}", "start"),
    )
    for each in result.numbers:
        numbers.add(
            each.key,
            number(each.value, "{:,}"),
            number(each.uncertainty, "{:,.0f}"),
            number(each.start, "{:,}"),
        )
    parts: list[Part] = [numbers]
    if result.kept:
        parts.append(f"not fitted, as in device={START}: {', '.join(result.kept)}")
    checks = Sheet(
        "records",
        left("run"),
        left("kernel"),
        right("tiles"),
        left("used"),
        left("time"),
        right("measured ms", "measured_ms"),
        right("predicted ms", "predicted_ms"),
        right("residual", "residual_pct"),
        right("left out", "left_out_pct"),
        right("spread"),
    )
    left_out = {id(check.record): check.residual_pct for check in result.left_out}
    for check in result.checks:
        checks.add(
            check.record.label,
            check.record.kernel,
            number(check.record.config["workload"]["tiles"], "{}"),
            "fitted" if check.is_seen else "not seen",
            check.what,
            number(ns_to_ms(check.measured_ns), "{:.3f}"),
            number(ns_to_ms(check.predicted_ns), "{:.3f}"),
            number(check.residual_pct, "{:+.2f}%"),
            number(left_out.get(id(check.record)) if check.is_seen else None, "{:+.2f}%"),
            number(spread(check.record.samples.total_ns), "{:.1%}"),
        )
    parts.append(checks)
    unseen = [abs(check.residual_pct) for check in result.checks if not check.is_seen]
    parts.append(
        f"largest residual of {len(unseen)} records that the fit did not see: {max(unseen):.2f} %"
        if unseen
        else "no record was held back; give some with --check to see how the profile predicts them"
    )
    return [*parts, *_left_out_lines(result), *_doubts(result)]


def _left_out_lines(result: Calibration) -> list[str]:
    """How well fits without a record predict it."""
    lines, count = list[str](), len(result.left_out) + len(result.alone)
    if result.left_out:
        worst = max(result.left_out, key=lambda check: abs(check.residual_pct))
        middle = median(abs(check.residual_pct) for check in result.left_out)
        lines.append(
            f"left out: {len(result.left_out)} of {count} records, each predicted by a fit to the "
            f"others; largest residual {abs(worst.residual_pct):.2f} % ({worst.record.label}), "
            f"median {middle:.2f} %"
        )
    if result.alone:
        names = ", ".join(dict.fromkeys(record.label for record in result.alone))
        lines.append(f"not left out, because the others do not show all numbers: {names}")
    return lines


def _doubts(result: Calibration) -> list[str]:
    """Which assumptions of the model the residuals contradict, and whether noise explains them."""
    doubts = [f"contradicts the model: {each.text}" for each in contradictions(result.checks)]
    differ = noise(result.checks)
    if differ is not None and differ > NOISY_SPREAD:
        doubts.append(
            f"the passes of a record differ by {differ:.0%} (median): the machine was busy, and "
            "residuals up to that size say little; run again on an idle machine"
        )
    return doubts


def profile_text(result: Calibration) -> str:
    """The profile as a YAML file: an option of the group device."""
    fitted = [check.record for check in result.checks if check.is_seen]
    kind, host = fitted[0].device, fitted[0].environment.host
    plain = [each for each in result.numbers if "." not in each.key]
    kernels = [each for each in result.numbers if "." in each.key]
    lines = [
        f"# Fitted by `harness calibrate` to {len(fitted)} records of device={kind} on {host}.",
        "defaults:",
        f"  - {START}",
        "  - _self_",
        "",
        *(f"{each.key}: {each.value:_}" for each in plain),
        *["exec_ns:"] * bool(kernels),
        *(f"  {each.key.partition('.')[2]}: {each.value:_}" for each in kernels),
        "sources:",
        *(
            f'  {each.key}: "fitted: {each.value:_} +- {each.uncertainty:.0f} (95 %) to '
            f'{len(fitted)} records of device={kind}"'
            for each in result.numbers
        ),
    ]
    return "\n".join(lines) + "\n"


def _write(path: Path, text: str) -> None:
    """Write the profile; HarnessError if that fails."""
    try:
        write_text(path, text)
    except OSError as error:
        raise HarnessError(
            f"{path}: cannot be written ({error.strerror}); give another file"
        ) from error


def _checked(path: Path | None) -> None:
    """RequestError for a file that no configuration could use, or that exists."""
    if path is None:
        return
    if path.suffix != ".yaml" or path.parent.name != "device":
        raise RequestError(
            f"--out={path}: not an option of the group device; give FOLDER/device/NAME.yaml"
        )
    if path.exists():
        raise RequestError(f"--out={path}: already exists; give another name, or remove it")


def main(arguments: Sequence[str]) -> int:
    """Fit, write the profile and print the report."""
    rest, tracking = take_tracking(arguments, "calibrate")
    options = _parser().parse_intermixed_args(rest)
    presentation = presentation_of(options)
    if not options.runs:
        raise RequestError(
            "calibrate: no records to fit; give folders of runs or sweeps, of several strategies "
            "(baseline, pooled, pipelined, batch) on one device"
        )
    _checked(options.out)
    start = load("tracking=off", f"device={START}").device
    assert isinstance(start, Simulator)  # the preset of that name
    fitted = [record for record, _ in named_runs(options.runs, tracking)]
    unseen = [record for record, _ in named_runs(options.check, tracking)]
    for record in unseen:
        if record in fitted:
            raise RequestError(f"--check: {record.name}: is among the records to fit; give others")
    result = calibrate(fitted, unseen, start, options.keep, leave_out=True)
    if options.out:
        _write(options.out, profile_text(result))
    parts = report(result)
    if options.out and presentation.for_readers:
        folder = options.out.parent.parent
        parts.append(
            f"profile: {options.out}; use it with --config-dir {folder} device={options.out.stem}"
        )
    show(parts, "report", presentation)
    return 0
