"""Tolerances in experiments, and verification without references: what is right, what is caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from support.experiments import record_of_run, request
from support.small_device import ADD

from harness.api import Pipeline
from harness.commands.show import run_parts
from harness.commands.terminal import Presentation
from harness.config.device import Cpu
from harness.device.cpu.backend import CpuBackend
from harness.errors import RequestError
from harness.execution import tile_passes
from harness.execution.agreement import Agreement, Extreme, Oracle
from harness.execution.executor import Executor
from harness.execution.findings import Findings
from harness.execution.prepare import make_plan, prepare
from harness.execution.verify import Checker, Result
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import (
    Buffer,
    Bytes,
    Direction,
    FixedCost,
    KernelSpec,
    Part,
    Tolerance,
    load_kernel,
)
from harness.kernel.folders import conf_root, looking_in
from harness.report.page.run_view import _meaning
from harness.report.run_lines import agreements, footnotes
from harness.results.record import Record

SPEC = """
import numpy as np
from harness.kernel import Buffer, Direction, KernelSpec, Part, Tolerance

def quarter(x):
    # The simulator computes one tile at a time, as a device does; expected outputs are computed
    # of many at once, and so have no error.
    out = x.astype(np.float32) / 4
    if len(x) == 1:
        out[:, 3, 5] += ERROR
    return out

def kernel(name, output="float32", reference=None, tolerance=Tolerance()):
    x, out = Part("x", (4, 8)), Part("out", (4, 8), output)
    buffers = Buffer("in", (x,)), Buffer("out", (out,), Direction.OUT)
    return KernelSpec(name, buffers, reference=reference, ops=1, tolerance=tolerance)

SPEC = """
KERNELS = {
    "near": 'kernel("near", reference=quarter, tolerance=Tolerance("absolute", 0.5, "test"))',
    "far": 'kernel("far", reference=quarter, tolerance=Tolerance("absolute", 0.01, "test"))',
    "flat": 'kernel("flat", reference=quarter, tolerance=Tolerance("absolute", 1e3, "test"))',
    "sign": 'kernel("sign", "int8", reference=lambda x: np.ones_like(x))',
    "void": 'kernel("void", reference=lambda x: np.full(x.shape, np.nan, np.float32))',
    "alone": 'kernel("alone")',
    "bytes": 'kernel("bytes", "int8")',
    "pair": """KernelSpec("pair", (
        Buffer("in", (Part("x", (4, 8)),)),
        Buffer("first", (Part("a", (3,), "int4"), Part("b", (8, 8), "bfloat16")), Direction.OUT),
        Buffer("state", (Part("c", (6,)),), Direction.INOUT),
        Buffer("second", (Part("d", (5,), "int32"),), Direction.OUT),
    ), ops=1)""",
    "exact": 'kernel("exact", "int8", reference=lambda x: x)',
    "drift": 'kernel("drift", "int8", tolerance=Tolerance("lsb", 1, "test"),'
    " reference=lambda x: x + np.int8(len(x) == 1))",
}


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels in the `kernels/` of the current folder."""
    for name, text in KERNELS.items():
        folder = tmp_path / "kernels" / name
        folder.mkdir(parents=True)
        (folder / "spec.py").write_text(SPEC.replace("ERROR", "0.25") + text)
    monkeypatch.chdir(tmp_path)


def run(kernel: str, *overrides: str) -> Record:
    verify = () if any(each.startswith("verify=") for each in overrides) else ("verify=all",)
    chain = kernel.split("+")
    workload = f"workload.kernel={kernel}"
    if len(chain) > 1:
        workload = f"workload.kernel= workload.chain=[{','.join(chain)}]"
    costs = [f"+device.exec_ns.{name}=1000" for name in dict.fromkeys(chain)]
    return record_of_run(*workload.split(), *costs, "workload.tiles=11", *verify, *overrides)


def test_errors_within_the_tolerance_are_in_the_record(kernels: None) -> None:
    record = run("near", "strategy=stacked", "depth=2")
    assert (record.verdict.value, record.reason) == ("OK", "")
    assert record.verification.oracle is Oracle.reference
    text = "largest error 0.25 of 0.5 allowed, at tile 0 out[3, 5]"
    agreement = Agreement("near", "an absolute error of at most 0.5", "test", text, 0.25)
    assert record.verification.agreements == (agreement,)
    (line,) = agreements(record)
    assert line == f"near: {text} (tolerance: an absolute error of at most 0.5; test)"
    detailed, brief = (
        run_parts([record], [Path("run")], Presentation(verbose=verbose))
        for verbose in (True, False)
    )
    assert line in detailed
    assert line not in brief


def test_an_error_beyond_the_tolerance_is_described(kernels: None) -> None:
    record = run("far")
    assert record.verdict.value == "WRONG"
    start, _, rest = record.reason.partition(" (")
    value = float(start.rpartition(" ")[2])
    assert start == f"tile 0: out[3, 5] is {value + 0.25}, expected {value}"
    assert rest == (
        "largest error 0.25 of 0.01 allowed); in all tiles: largest error 0.25 of 0.01 allowed, "
        "at tile 0 out[3, 5]; 11 of 11 tiles wrong"
    )
    assert record.verification.agreements[0].largest == 0.25


@pytest.mark.parametrize(("kernel", "allowed"), [("flat", ", within the tolerance"), ("sign", "")])
def test_outputs_that_are_alike_are_reported(kernels: None, kernel: str, allowed: str) -> None:
    record = run(kernel, "strategy=pipelined", "depth=3")
    assert record.ok
    line = (
        f"{kernel}: 8 of 8 outputs equal that of 3 tiles earlier{allowed}: if one is left over "
        "from that tile, this run does not show it"
    )
    assert record.verification.remarks == (line,)
    assert line in footnotes([record])


def test_an_exact_kernel_behind_one_with_errors(kernels: None) -> None:
    """Its expected output comes from the reference before it, so errors reach it."""
    record = run("drift+exact")
    assert record.verdict.value == "WRONG"
    assert record.reason.startswith("exact: tile 0: out[0, 0] is ")
    assert record.reason.endswith(
        "; the tolerance of drift allows errors in the input of this kernel; 11 of 11 tiles wrong"
    )
    assert record.verification.agreements[0].text.startswith("largest error 1 lsb of 1 allowed, at")
    # The serial pass has the same errors.
    assert run("drift+exact", "verify=device").ok


class Stale(Executor):
    """With more than one tile in flight, it reads the output of the tile before."""

    def run(self, inputs: Any, sink: Callable[[int, Bytes], None], *rest: Any, **more: Any) -> Any:
        earlier: list[Bytes] = []

        def late(first: int, outputs: Bytes) -> None:
            earlier.append(outputs.copy())
            sink(first, earlier[-2 if len(earlier) > 1 else -1])

        is_broken = self._strategy.in_flight > 1
        return super().run(inputs, late if is_broken else sink, *rest, **more)


@pytest.mark.parametrize("kernel", ["alone", "bytes"])
@pytest.mark.parametrize("verify", ["all", "device"])
def test_a_kernel_without_a_reference(
    kernels: None, monkeypatch: pytest.MonkeyPatch, kernel: str, verify: str
) -> None:
    right = run(kernel, "strategy=pipelined", "depth=3", f"verify={verify}")
    assert (right.verdict.value, right.reason) == ("OK", "")
    assert right.verification.oracle is Oracle.device
    # The verifying, the warm-up and the timed pass.
    assert right.metrics["verify/tiles"] == 33
    assert footnotes([right])[0] == (
        f"{kernel}: outputs are compared with those of a serial pass on the same device "
        "(verify=device): OK says nothing about what the kernel computes"
    )
    assert _meaning(right).startswith("The outputs equal those of a serial pass on the same dev")
    monkeypatch.setattr(tile_passes, "Executor", Stale)
    wrong = run(kernel, "strategy=pipelined", "depth=3", f"verify={verify}")
    assert wrong.verdict.value == "WRONG"
    assert wrong.reason.startswith("tile 1: out[0, 0] is ")
    assert ", in the serial pass " in wrong.reason
    assert wrong.reason.endswith("; 10 of 11 tiles wrong")


def test_a_pipeline_warns_of_outputs_without_a_meaning(kernels: None) -> None:
    spec = replace(load_kernel("alone"), cost=FixedCost(ns=1000))
    x = np.random.default_rng(0).integers(-128, 128, (3, 4, 8), np.int8)
    message = "^the simulator has no arithmetic for alone: outputs are random values that follow"
    with pytest.warns(UserWarning, match=message):
        pipeline = Pipeline([spec])
    with pipeline:
        outputs = pipeline.run([x])
        np.testing.assert_array_equal(pipeline.run([x]), outputs)
    assert np.isfinite(outputs).all()
    assert (outputs[0] != outputs[1]).any()


@pytest.mark.parametrize("limit", [None, 0])
def test_nan_with_other_bits(limit: float | None) -> None:
    """On x86, 0/0 has the sign bit; numpy's own NaN does not have it."""
    buffers = (
        Buffer("in", (Part("x", (2,), "float32"),)),
        Buffer("out", (Part("y", (2,), "float32"),), Direction.OUT),
    )
    tolerance = Tolerance() if limit is None else Tolerance("absolute", limit, "NaN")
    spec = KernelSpec("nan", buffers, reference=lambda x: x, tolerance=tolerance)
    expected, got = np.array([[0x7FC00000, 0]], "u4"), np.array([[0xFFC00000, 0]], "u4")
    checker = Checker(Tiles(Chain((spec,)), (expected.view(np.uint8),), 0.0, 0))
    checker(0, got.view(np.uint8))
    assert checker.mismatches == (limit is None)
    if limit is None:
        assert checker.first_mismatch.startswith("tile 0: only the bits of NaN, or of the padding")
        assert checker.first_mismatch.endswith("{kind: absolute, limit: 0} allows that")


def test_tiles_that_do_not_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: object, **__: object) -> Tiles:
        raise MemoryError("Unable to allocate 8 GiB")

    monkeypatch.setattr("harness.execution.prepare.make_chain_tiles", too_large)
    config, _ = request("workload=gelu")
    with pytest.raises(
        RequestError, match=r"kernel gelu: .* 1,024 bytes, .* \(Unable to allocate 8 GiB\); use sma"
    ):
        prepare(config)


def test_a_layer_needs_all_references(kernels: None, tmp_path: Path) -> None:
    path = tmp_path / "conf" / "kernel" / "gelu.yaml"
    path.parent.mkdir(parents=True)
    text = (conf_root() / "kernel" / "gelu.yaml").read_text()
    path.write_text(text.replace("reference: reference:gelu\n", ""))
    config, _ = request("workload=whisper_tiny", "workload.layer=0", "verify=all")
    with (
        looking_in(path.parents[1]),
        pytest.raises(
            RequestError,
            match=r"workload\.layer=0: the results .* kernel gelu has none; declare one",
        ),
    ):
        make_plan(config)


def test_the_remarks_name_the_kernel(kernels: None) -> None:
    config, _ = request("workload.kernel=alone", "+device.exec_ns.alone=1", "verify=all")
    assert make_plan(config).remarks == (
        "verify=all: alone has no reference, so outputs are compared with those of a serial pass "
        "on the device, as with verify=device",
        "the simulator has no arithmetic for alone: outputs are random values that follow from a "
        "checksum of the inputs",
    )


def test_several_outputs_without_a_reference(kernels: None) -> None:
    record = run("pair", "verify=all", "strategy=stacked")
    assert (record.verdict.value, record.reason) == ("OK", "")
    assert record.verification.remarks == ()
    wrong = run("pair", "verify=all", "strategy=stacked", "device.faults.corrupt=[14]")
    assert wrong.verdict.value == "WRONG"


def test_a_reference_that_returns_only_nan_is_reported(kernels: None) -> None:
    record = run("void")
    line = (
        "void: each expected value of out is NaN: this run shows only that the kernel returns NaN "
        "too"
    )
    assert (record.verdict.value, line in record.verification.remarks) == ("OK", True)
    assert not any("NaN" in each for each in run("near").verification.remarks)


def test_a_tolerance_does_not_hide_a_corrupt_execution(kernels: None) -> None:
    """A low bit of a float would be within each tolerance."""
    record = run("near", "device.faults.corrupt=[14]")
    assert record.verdict.value == "WRONG"
    assert "out[0, 0] is " in record.reason


def test_a_corrupt_execution_is_caught_without_a_reference(kernels: None) -> None:
    """Executions 0 and 1 to 11 are the first one and the serial pass."""
    record = run("alone", "verify=device", "device.faults.corrupt=[14]")
    assert record.verdict.value == "WRONG"
    assert "1 of 11 tiles wrong" in record.reason


@pytest.mark.parametrize("warmup", [0, 1])
def test_references_are_not_used_with_verify_device(kernels: None, warmup: int) -> None:
    """The reference of `far` differs from what the device computes: not from itself."""
    record = run("far", "verify=device", "strategy=batch", f"measure.warmup={warmup}")
    assert (record.verdict.value, record.reason) == ("OK", "")
    assert record.verification.agreements[0].text == "largest error 0 of 0.01 allowed"
    assert record.metrics["model/residual_pct"] == pytest.approx(0, abs=0.1)


def test_references_that_are_required(kernels: None) -> None:
    with pytest.raises(RequestError, match=r"^verify=reference: alone has no reference; dec"):
        run("alone", "verify=reference")
    record = run("near", "verify=reference")
    assert (record.ok, record.verification.oracle) == (True, Oracle.reference)
    assert run("alone", "verify=off").verification.oracle is Oracle.off


def test_the_processor_cannot_compute_without_cpp_and_reference(kernels: None) -> None:
    backend = CpuBackend(Cpu(), lambda name: None)
    with pytest.raises(RequestError, match=r"^kernel alone: has neither C\+\+ nor a reference"):
        backend.prepare(load_kernel("alone"), 1)


@pytest.mark.slow
def test_an_encoder_against_a_serial_pass() -> None:
    record = record_of_run(
        "workload=whisper_tiny",
        "workload.accounting=full",
        "workload.tiles=4",
        "verify=device",
        "strategy=pipelined",
    )
    assert (record.verdict.value, record.reason) == ("OK", "")
    assert record.verification.oracle is Oracle.device


def test_the_largest_error_of_all_passes_counts() -> None:
    spec = replace(ADD, tolerance=Tolerance("lsb", 9, "test"))
    findings = Findings()
    for largest, place in ((3, "tile 7 sum[0, 1]"), (2, "tile 1 sum[0, 0]")):
        findings.judge_outputs([Result(8, 0, "", [Extreme(spec, largest, 0.5, place)])], "")
    (agreement,) = findings.verification(Oracle.reference).agreements
    assert agreement.text == "largest error 3 lsb of 9 allowed, at tile 7 sum[0, 1]"


EVERY_KIND = [
    Tolerance(),
    Tolerance("absolute", 3, "test"),
    Tolerance("relative", 0.9, "test", floor=3),
    Tolerance("mismatch_share", 0.9, "test"),
    Tolerance("cosine", 0.01, "test"),
]


@pytest.mark.parametrize("tolerance", EVERY_KIND, ids=lambda each: each.kind)
def test_bytes_that_are_not_written_are_wrong_in_every_part(tolerance: Tolerance) -> None:
    """One element of one tile still has its poison; all others are right."""
    parts = (Part("a", (4, 8), "bfloat16", block=(2, 4)), Part("b", (5,), "int4"))
    x = Part("x", (40,))
    spec = KernelSpec(
        "both",
        (Buffer("in", (x,)), Buffer("out", parts, Direction.OUT)),
        reference=lambda x: (
            x[:, :32].reshape(-1, 4, 8).astype(ml_dtypes.bfloat16),
            (x[:, 32:37] % 8).astype(np.int8),
        ),
        tolerance=tolerance,
    )
    generator = np.random.default_rng(0)
    tiles = Tiles(Chain((spec,)), (generator.integers(0, 256, (3, 40), np.uint8),), 1.0, 0)
    expected, poison = tiles.expect(0, 3), Checker(tiles).poison(0, 0, 3)
    for tile in range(3):
        for part, offset in ((0, 0), (0, 62), (1, 64), (1, 65)):
            size = 2 if part == 0 else 1
            outputs = expected.copy()
            outputs[tile, offset : offset + size] = poison[tile, offset : offset + size]
            checker = Checker(tiles)
            checker(0, outputs)
            assert (checker.compared, checker.mismatches) == (3, 1)
            assert checker.first_mismatch.startswith(f"tile {tile}: {'ab'[part]}[")
    right = Checker(tiles)
    right(0, expected)
    assert (right.mismatches, right.first_mismatch) == (0, "")
