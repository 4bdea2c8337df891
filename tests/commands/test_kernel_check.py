"""`harness kernel check`: what of a kernel is missing, or does not fit, line by line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from support.axlf_file import (
    ARGUMENTS,
    METADATA,
    PARTITION,
    SCALAR,
    TYPICAL,
    arg,
    build,
    kernel,
    partition,
    xml,
)
from support.txn_file import MM2S, S2MM, stream, transfer

from harness.commands.kernel import check as check_command
from harness.commands.kernel import check_reference, checks
from harness.commands.main import dispatch
from harness.config.compose import load
from harness.device.open import open_backend
from harness.errors import RequestError
from harness.kernel import load_kernel

YAML = """# A ReLU.
xclbin: relu.xclbin
arguments:
  - {name: x, direction: in, dtype: int8, shape: [64]}
  - {name: n, direction: scalar, value: 4}
  - {name: y, direction: out, dtype: int8, shape: [64]}
reference: reference:relu
ops: 64
cost: {ns: 20000}
"""
REFERENCE = """
import numpy as np

def relu(x, n):
    return np.maximum(x, 0)
"""
WITH_SCALAR = kernel(
    "MLIR_AIE", *ARGUMENTS[:4], arg(4, "n", "uint32_t", SCALAR), *ARGUMENTS[5:], dpu_id="0x901"
)
XCLBIN = build({**TYPICAL, METADATA: xml(WITH_SCALAR)})
INSTRUCTIONS = stream(*transfer(0, MM2S), *transfer(2, S2MM, descriptor=1))


class Line(NamedTuple):
    """A check: its status, and its finding with the remedy."""

    status: str
    text: str


Checked = Callable[..., dict[str, Line]]


composed = cache(load)
"""Equal requests are composed once for all tests, which takes longer than the checks."""


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with the files of a whole kernel."""
    for module in (check_command, checks):
        monkeypatch.setattr(module, "load", composed)
    monkeypatch.chdir(tmp_path)
    Path("conf/kernel").mkdir(parents=True)
    Path("kernels/relu").mkdir(parents=True)
    Path("conf/kernel/relu.yaml").write_text(YAML)
    Path("kernels/relu/reference.py").write_text(REFERENCE)
    Path("kernels/relu/relu.xclbin").write_bytes(XCLBIN)
    Path("kernels/relu/relu.insts.bin").write_bytes(INSTRUCTIONS)


@pytest.fixture
def check(capfd: pytest.CaptureFixture[str]) -> Checked:
    """Check the kernel; returns the lines by their name, after a look at the exit code."""

    def run(*arguments: str, name: str = "relu") -> dict[str, Line]:
        code = dispatch(["kernel", "check", name, *arguments, "--json"])
        out, err = capfd.readouterr()
        assert err == ""
        rows = json.loads(out)
        lines = {
            row["name"]: Line(row["status"], f"{row['message']}; {row['remedy']}") for row in rows
        }
        assert len(lines) == len(rows)
        assert code == int(any(line.status == "fail" for line in lines.values()))
        assert all("\n" not in line.text for line in lines.values())
        return lines

    return run


def change(before: str, after: str, path: str = "conf/kernel/relu.yaml") -> None:
    text = Path(path).read_text()
    assert before in text
    Path(path).write_text(text.replace(before, after))


def wrong(lines: dict[str, Line]) -> dict[str, str]:
    return {name: line.status for name, line in lines.items() if line.status != "ok"}


def test_a_whole_kernel(check: Checked, capfd: pytest.CaptureFixture[str]) -> None:
    lines = check()
    assert list(lines) == [
        *("declaration", "reference", "xclbin", "instructions", "columns", "cost")
    ]
    assert wrong(lines) == {}
    assert lines["declaration"].text.startswith(
        "conf/kernel/relu.yaml: x (in, 64 B), n=4, y (out, 64 B)"
    )
    assert "kernel MLIR_AIE, 8 arguments" in lines["xclbin"].text
    assert "6 operations; use arguments 3, 5" in lines["instructions"].text
    assert "4 of the 4 of the device" in lines["columns"].text
    assert "20 us" in lines["cost"].text
    assert dispatch(["kernel", "check", "relu"]) == 0
    text = capfd.readouterr().out.splitlines()
    assert text[-1] == "kernel relu can run: none of 6 checks failed"
    assert text[0].startswith("ok    declaration")


def test_what_inspect_left_open(check: Checked, capfd: pytest.CaptureFixture[str]) -> None:
    Path("conf/kernel/relu.yaml").unlink()
    assert dispatch(["kernel", "inspect", "kernels/relu/relu.xclbin", "--write"]) == 0
    capfd.readouterr()
    lines = check()
    keys = [f"arguments[{index}].{key}" for index in (0, 2, 3, 4) for key in KEYS]
    assert set(lines) == {*keys, "arguments[1].value", "ops", "cost.ns"}
    assert set(wrong(lines).values()) == {"fail"}
    assert lines["arguments[0].direction"].text == (
        "has no value in conf/kernel/relu.yaml; "
        "give one of in, out, inout, constant, scalar, unused"
    )
    dispatch(["kernel", "check", "relu"])
    assert capfd.readouterr().out.endswith("kernel relu cannot run: 15 of 15 checks failed\n")


KEYS = ("direction", "dtype", "shape")


def test_a_filled_skeleton_is_whole(check: Checked, capfd: pytest.CaptureFixture[str]) -> None:
    path = "conf/kernel/relu.yaml"
    Path(path).unlink()
    paths = ["kernels/relu/relu.xclbin", "--insts", "kernels/relu/relu.insts.bin"]
    assert dispatch(["kernel", "inspect", *paths, "--write"]) == 0
    capfd.readouterr()
    lines = [line.partition("  # fill in")[0] for line in Path(path).read_text().splitlines()]
    values = {
        "    dtype:": "    dtype: int8",
        "    shape:": "    shape: [64]",
        "    value:": "    value: 4",
        "ops:": "ops: 64",
        "cost: {ns: }": "cost: {ns: 20000}",
    }
    text = "\n".join(values.get(line, line) for line in lines)
    Path(path).write_text(text.replace("# reference", "reference").replace(":bo0", ":relu"))
    Path("kernels/relu/reference.py").write_text("def relu(bo0, n):\n    return bo0\n")
    assert wrong(check()) == {}


def test_a_wrong_declaration(check: Checked) -> None:
    change("int8, shape: [64]", "int9, shape: [64]")
    lines = check()
    assert list(lines) == ["declaration"]
    assert "arguments[0].dtype=int9: not allowed; did you mean int" in lines["declaration"].text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return x.astype(np.int16)", "y: given int16[64], takes int8[64] per tile"),
        ("return x[:, :32]", "y: given int8[32], takes int8[64] per tile"),
        ("return x[0]", "y: given int8[], takes int8[64] per tile"),
        ("return x[:1]", "returns 1 tiles for 2"),
        ("return x, x", "takes 1"),
        ("return None", "'NoneType'"),
        ("raise ValueError('a\\nb')", "ValueError: a b"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_wrong_reference(check: Checked, body: str, reason: str) -> None:
    change("return np.maximum(x, 0)", body, "kernels/relu/reference.py")
    lines = check()
    assert wrong(lines) == {"reference": "fail"}
    assert reason in lines["reference"].text


def test_a_reference_that_never_ends(check: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_reference, "LIMIT_S", 0.1)
    body = "import threading; threading.Event().wait()"
    change("return np.maximum(x, 0)", body, "kernels/relu/reference.py")
    assert "takes more than 0.1 s for 2 tiles" in check()["reference"].text


def test_no_reference_and_no_cost(check: Checked) -> None:
    change("reference: reference:relu\n", "")
    change("cost: {ns: 20000}\n", "")
    lines = check()
    assert wrong(lines) == {"reference": "warn", "cost": "warn"}
    assert "no figure for kernel relu" in lines["cost"].text


@pytest.mark.parametrize(
    "dtype", ["int4", "uint8", "int16", "int32", "bfloat16", "float16", "float32"]
)
def test_a_reference_gets_each_dtype(check: Checked, dtype: str) -> None:
    change("int8", dtype)
    assert wrong(check()) == {}


@pytest.mark.parametrize(
    ("declared", "expected"), [("xclbin: relu.xclbin\n", "fail"), ("", "warn")]
)
def test_missing_files(check: Checked, declared: str, expected: str) -> None:
    """A kernel that declares no xclbin is one for the simulator."""
    change("xclbin: relu.xclbin\n", declared)
    Path("kernels/relu/relu.xclbin").unlink()
    lines = check()
    assert wrong(lines) == {"files": expected}
    assert "relu.xclbin: no such file" in lines["files"].text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (XCLBIN[:-9], "truncated xclbin"),
        (b"text", "not an xclbin"),
        (build({**TYPICAL, METADATA: xml(kernel("other", *ARGUMENTS))}), "contains other"),
        (build({**TYPICAL, METADATA: xml(kernel("relu", *ARGUMENTS[:3]))}), "declares "),
    ],
)
def test_a_wrong_xclbin(check: Checked, content: bytes, reason: str) -> None:
    Path("kernels/relu/relu.xclbin").write_bytes(content)
    lines = check()
    assert wrong(lines) == {"xclbin": "fail"}
    assert reason in lines["xclbin"].text


def test_an_xclbin_with_the_arguments_of_another_order(check: Checked) -> None:
    metadata = xml(kernel("MLIR_AIE", ARGUMENTS[0], ARGUMENTS[1], arg(2, "p"), *ARGUMENTS[3:]))
    Path("kernels/relu/relu.xclbin").write_bytes(build({**TYPICAL, METADATA: metadata}))
    lines = check()
    assert wrong(lines) == {"xclbin": "fail", "argument 4": "fail"}
    assert "argument 2 (p) is a buffer" in lines["xclbin"].text
    assert "n is declared as a value; the xclbin takes a buffer" in lines["argument 4"].text


def test_columns(check: Checked) -> None:
    sections = {**TYPICAL, METADATA: xml(WITH_SCALAR), PARTITION: partition(8)}
    Path("kernels/relu/relu.xclbin").write_bytes(build(sections))
    lines = check()
    assert wrong(lines) == {"columns": "fail"}
    reason = "relu.xclbin: wants 8 columns, and the device has 4"
    assert reason in lines["columns"].text
    with pytest.raises(RequestError, match=re.escape(reason)):
        open_backend(composed("device=simulator").device, load_kernel("relu"))
    assert wrong(check("device.columns=8")) == {}
    Path("kernels/relu/relu.xclbin").write_bytes(build({**sections, PARTITION: b""}))
    assert wrong(check()) == {"columns": "warn"}


@pytest.mark.parametrize(
    ("content", "expected", "reason"),
    [
        (INSTRUCTIONS[:-4], {"instructions": "fail"}, "the header states"),
        (stream(*transfer(0, MM2S)), {"argument 5": "warn"}, "do not use it"),
        (
            stream(*transfer(0, S2MM), *transfer(2, MM2S), *transfer(2, S2MM)),
            {"argument 3": "warn", "argument 5": "warn"},
            "y has direction out; the instructions read and write it",
        ),
        (
            stream(*transfer(0, MM2S), *transfer(2, S2MM), *transfer(5, S2MM)),
            {"argument 8": "fail"},
            "the instructions use it; kernel MLIR_AIE declares 8",
        ),
        (stream(version=1), {}, "unknown version"),
    ],
)
def test_instructions(
    check: Checked, content: bytes, expected: dict[str, str], reason: str
) -> None:
    Path("kernels/relu/relu.insts.bin").write_bytes(content)
    lines = check()
    assert wrong(lines) == expected
    assert any(reason in line.text for line in lines.values())


def test_an_argument_that_is_declared_as_unused_but_used(check: Checked) -> None:
    change("  - {name: y", "  - {name: y2, direction: out, shape: [64]}\n  - {name: y")
    change("{name: n, direction: scalar, value: 4}", "{name: n, direction: unused}")
    change("relu(x, n)", "relu(x)", "kernels/relu/reference.py")
    change("(x, 0)", "(x, 0), x", "kernels/relu/reference.py")
    Path("kernels/relu/relu.insts.bin").write_bytes(
        stream(*transfer(0, MM2S), *transfer(1, MM2S), *transfer(2, S2MM), *transfer(3, S2MM))
    )
    lines = check()
    assert wrong(lines) == {"argument 4": "warn"}
    assert "is declared as unused; the instructions use it" in lines["argument 4"].text


def test_a_kernel_of_the_harness(check: Checked) -> None:
    assert wrong(check(name="matmul_64")) == {"files": "warn"}


def test_a_kernel_in_another_folder(check: Checked) -> None:
    Path("elsewhere").mkdir()
    for name in ("conf", "kernels"):
        Path(name).rename(Path("elsewhere", name))
    assert wrong(check("--config-dir", "elsewhere/conf")) == {}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "kernel check needs a kernel: "),
        (("rel",), "kernel rel: no such kernel; did you mean relu?"),
        (("relu", "device.colums=8"), "did you mean device.columns=8?"),
        (("relu", "depth=2"), "depth=2: kernel check takes keys of the device"),
        (("relu", "--config-dir", "absent"), "absent"),
    ],
)
def test_a_wrong_request(
    capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...], reason: str
) -> None:
    assert dispatch(["kernel", "check", *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert reason in err
    assert err.count("\n") == 1
