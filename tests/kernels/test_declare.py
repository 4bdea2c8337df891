"""Declarations in YAML: what they give, and the line about each wrong value."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from harness.errors import RequestError
from harness.kernel import (
    Buffer,
    Direction,
    FixedCost,
    Part,
    Scalar,
    Unused,
    kernel_hash,
    kernel_names,
    kernel_source,
    load_kernel,
)
from harness.kernel.folders import VARIABLE, folders_with, looking_in

WHOLE = """# Scales and adds. More.
folder: code
xclbin: build/mine.xclbin
insts: /abs/mine.bin
kernel: MLIR_AIE
arguments:
  - {name: x, direction: in, dtype: int8, shape: [8, 16]}
  - name: qkv
    direction: in
    parts:
      - {name: q, shape: []}
      - {name: w, dtype: int16, shape: [4, 4], layout: [2, 2], constant: true}
  - {name: bias, direction: constant, dtype: int32, shape: [16]}
  - {name: state, direction: inout, dtype: float32, shape: [3]}
  - {name: y, direction: out, dtype: bfloat16, shape: [8, 16], layout: [4, 8]}
  - {name: n, direction: scalar, value: -4}
  - {name: spare, direction: unused}
  - {direction: unused}
reference: reference:compute
tolerance: {kind: relative, limit: 0.01, reason: bfloat16 rounds}
ops: 4096
cost: {ns: 20000}
"""
REFERENCE = """
from helper import FACTOR


def compute(x, q, w, bias, state, n):
    return state + n, x * FACTOR


NUMBER = 3
"""
SMALL = """arguments:
  - {name: x, direction: in, shape: [8]}
  - {name: y, direction: out, shape: [8]}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with the kernel `mine`, of all keys."""
    (tmp_path / "conf" / "kernel").mkdir(parents=True)
    (tmp_path / "kernels" / "code").mkdir(parents=True)
    (tmp_path / "conf" / "kernel" / "mine.yaml").write_text(WHOLE)
    (tmp_path / "kernels" / "code" / "reference.py").write_text(REFERENCE)
    (tmp_path / "kernels" / "code" / "helper.py").write_text("FACTOR = 2\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_key_of_a_declaration(folder: Path) -> None:
    spec = load_kernel("mine")
    assert spec.arguments == (
        Buffer("x", (Part("x", (8, 16)),)),
        Buffer("qkv", (Part("q", ()), Part("w", (4, 4), "int16", True, (2, 2)))),
        Buffer("bias", (Part("bias", (16,), "int32", constant=True),)),
        Buffer("state", (Part("state", (3,), "float32"),), Direction.INOUT),
        Buffer("y", (Part("y", (8, 16), "bfloat16", block=(4, 8)),), Direction.OUT),
        Scalar("n", -4),
        Unused("spare"),
        Unused(),
    )
    assert (spec.name, spec.ops, spec.cost, spec.own) == ("mine", 4096, FixedCost(20_000), True)
    assert (spec.tolerance.kind, spec.tolerance.limit) == ("relative", 0.01)
    assert spec.files.xclbin == folder / "kernels" / "code" / "build" / "mine.xclbin"
    assert (spec.files.insts, spec.files.kernel) == (Path("/abs/mine.bin"), "MLIR_AIE")
    assert "mine" in kernel_names()
    assert spec.reference is not None
    state, y = spec.reference(3, None, None, None, 10, n=-4)
    assert (state, y) == (6, 6)


def test_a_kernel_is_loaded_again_after_a_change(folder: Path) -> None:
    before = load_kernel("mine")
    assert load_kernel("mine") is before
    hashed = kernel_hash("mine")
    (folder / "kernels" / "code" / "helper.py").write_text("FACTOR = 3\n")
    after = load_kernel("mine")
    assert after is not before
    assert after.reference is not None
    assert after.reference(3, 0, 0, 0, 0, n=0)[1] == 9
    assert kernel_hash("mine") != hashed
    hashed = kernel_hash("mine")
    (folder / "kernels" / "code" / "code.cc").write_text("// C++\n")
    assert kernel_hash("mine") != hashed
    assert kernel_source(load_kernel("mine")) == folder / "kernels" / "code" / "code.cc"
    path = folder / "conf" / "kernel" / "mine.yaml"
    path.write_text(path.read_text().replace("ops: 4096", "ops: 4097"))
    assert load_kernel("mine").ops == 4097
    path.unlink()
    with pytest.raises(RequestError, match="kernel mine: no such kernel; "):
        load_kernel("mine")


def test_a_hash_has_no_path(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = kernel_hash("mine")
    other = tmp_path / "elsewhere"
    other.mkdir()
    (folder / "conf").rename(other / "conf")
    (folder / "kernels").rename(other / "kernels")
    monkeypatch.chdir(other)
    assert kernel_hash("mine") == here


def test_the_users_kernel_is_used_before_the_harnesss(folder: Path) -> None:
    (folder / "conf" / "kernel" / "gelu.yaml").write_text(SMALL)
    assert load_kernel("gelu").own
    assert not load_kernel("matmul").own
    # The fused kernel of the harness uses the gelu of the harness.
    fused = load_kernel("matmul_gelu")
    assert fused.compute(np.zeros((1, 512), np.uint8)).shape == (1, 512)


def test_a_named_folder_is_used_before_the_current_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "named"
    (named / "presets" / "kernel").mkdir(parents=True)
    (named / "presets" / "kernel" / "mine.yaml").write_text(SMALL)
    with looking_in(Path("named/presets")):
        assert len(load_kernel("mine").arguments) == 2
        assert json.loads(os.environ[VARIABLE]) == [str(named / "presets"), str(folder / "conf")]
        # Another process may have another current folder.
        monkeypatch.chdir("/")
        assert len(load_kernel("mine").arguments) == 2
    assert VARIABLE not in os.environ
    monkeypatch.chdir(folder)
    assert len(load_kernel("mine").arguments) == 8
    assert folders_with(Path("named/../named/presets")) == folders_with(Path("named/presets"))


def test_modules_of_two_folders_do_not_mix(folder: Path) -> None:
    (folder / "kernels" / "other").mkdir()
    (folder / "kernels" / "other" / "helper.py").write_text("FACTOR = 5\n")
    (folder / "kernels" / "other" / "reference.py").write_text(REFERENCE)
    (folder / "conf" / "kernel" / "other.yaml").write_text(WHOLE.replace("code", "other"))
    mine, other = load_kernel("mine").reference, load_kernel("other").reference
    assert mine is not None
    assert other is not None
    assert (mine(1, 0, 0, 0, 0, 0)[1], other(1, 0, 0, 0, 0, 0)[1]) == (2, 5)
    with pytest.raises(ImportError):
        __import__("helper")


def test_packages_of_two_folders_do_not_mix(folder: Path) -> None:
    for name, factor in (("code", 2), ("other", 5)):
        package = folder / "kernels" / name / "parts"
        package.mkdir(parents=True)
        (package / "numbers.py").write_text(f"FACTOR = {factor}\n")
        text = REFERENCE.replace("from helper", "from parts.numbers")
        (package.parent / "reference.py").write_text(text)
        (folder / "conf" / "kernel" / f"{name}.yaml").write_text(WHOLE.replace("code", name))

    def factors() -> list[int]:
        references = (load_kernel(name).reference for name in ("code", "other"))
        return [each(1, 0, 0, 0, 0, 0)[1] for each in references if each]

    assert factors() == [2, 5]
    assert not [each for each in sys.modules if each.startswith("parts")]
    (folder / "kernels" / "code" / "parts" / "numbers.py").write_text("FACTOR = 33\n")
    assert factors() == [33, 5]


@pytest.mark.parametrize("value", ["abc", "3", "[1]", "null"])
def test_a_variable_without_a_list_of_folders(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(RequestError, match=f"{VARIABLE}=.*: not a JSON list of paths; unset it"):
        kernel_names()


def test_without_inputs_of_the_reference_nothing_is_loaded(folder: Path) -> None:
    (folder / "conf" / "kernel" / "small.yaml").write_text(SMALL)
    spec = load_kernel("small")
    assert (spec.reference, spec.cost, spec.ops, spec.folder) == (
        None,
        None,
        0,
        folder / "kernels" / "small",
    )


BOMB = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"{one}: &{one} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, one in zip("abcdefg", "bcdefgh", strict=True)
)
X = "{name: x, direction: in, dtype: int8, shape: [8, 16]}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ops: 4096", "opps: 4096", "opps: no such key; did you mean ops? Allowed: arguments, "),
        ("ops: 4096", "ops: -1", "ops=-1: not allowed; give a whole number of operations per "),
        ("ops: 4096", "ops: 4.5", "ops=4.5: not allowed; give a whole number"),
        ("ops: 4096", "ops: true", "ops=True: not allowed; give a whole number"),
        ("ops: 4096", "ops:", "ops: no value; give a whole number"),
        ("folder: code", "folder: ../code", "folder=../code: not allowed; give a folder in "),
        ("folder: code", "folder: nowhere", "reference=reference:compute: "),
        ("xclbin: build/mine.xclbin", "xclbin: [1]", "xclbin=[1]: not allowed; give a text"),
        ("kernel: MLIR_AIE", "kernel: 3", "kernel=3: not allowed; give a text"),
        ("cost: {ns: 20000}", "cost: {ns: -1}", "cost.ns"),
        ("cost: {ns: 20000}", "cost: 20000", "cost: not a cost; "),
        ("cost: {ns: 20000}", "cost: 0", "cost: not a cost; "),
        ("cost: {ns: 20000}", "cost: {}", "cost: not a cost; "),
        ("folder: code", "folder: " + "a" * 300, "not allowed; give names of at most 200 char"),
        ("reference:compute", "a" * 300 + ":f", "not allowed; give names of at most 200 charact"),
        ("limit: 0.01", "limit:", "tolerance.limit=None: not a number"),
        ("limit: 0.01", "limit: 0.01, share:", "tolerance.share=None: not a number"),
        ("limit: 0.01", "limit: 1" + "0" * 320, "tolerance.limit=1000"),
        ("kind: relative", "kind: nearly", "tolerance"),
        ("limit: 0.01", "limit: -0.01", "tolerance.limit=-0.01"),
        ("{kind: relative, limit: 0.01, reason: bfloat16 rounds}", "0", "tolerance=0: not a tol"),
        (X, "x", "arguments[0]='x': not allowed; give keys in braces"),
        ("direction: in, dtype: int8", "direction: input", "arguments[0].direction=input: not "),
        ("direction: in, dtype: int8", "dtype: int8", "arguments[0].direction: missing; allowed"),
        ("dtype: int8", "dtype: int7", "arguments[0].dtype=int7: not allowed; did you mean int"),
        ("dtype: int8", "typ: int8", "arguments[0].typ: no such key; did you mean dtype?"),
        ("name: x,", "name: 3x,", "arguments[0].name=3x: not allowed; give a name of letters"),
        ("{name: x,", "{", "arguments[0].name: missing; give a name of letters"),
        ("name: bias", "name: x", "arguments[2].name=x: given twice; give each its own name"),
        ("name: q,", "name: x,", "arguments[1].name=x: given twice; give each its own name"),
        ("shape: [8, 16]}", "shape: [8, 0]}", "arguments[0].shape=[8, 0]: not allowed; give a "),
        ("shape: [8, 16]}", "shape: [8, -1]}", "arguments[0].shape=[8, -1]: not allowed; "),
        ("shape: [8, 16]}", "shape: [8, 1.5]}", "arguments[0].shape=[8, 1.5]: not allowed; "),
        ("shape: [8, 16]}", "shape: [true]}", "arguments[0].shape=[True]: not allowed; "),
        ("shape: [8, 16]}", "shape: [65536, 65536]}", "arguments[0].shape=[65536, 65536]: not "),
        ("shape: [8, 16]}", "shape: 8}", "arguments[0].shape=8: not allowed; "),
        (", shape: [8, 16]}", "}", "arguments[0].shape: missing; give a list of 0 to 8 sizes"),
        ("layout: [4, 8]", "layout: [3, 8]", "arguments[4].layout=[3, 8]: not allowed; give row"),
        ("layout: [4, 8]", "layout: [4]", "arguments[4].layout=[4]: not allowed; give row_major"),
        ("layout: [4, 8]", "layout: [0, 8]", "arguments[4].layout=[0, 8]: not allowed; give row"),
        ("layout: [4, 8]", "layout: columns", "arguments[4].layout=columns: not allowed; give r"),
        ("q, shape: []", "q, shape: [], constant: 1", "arguments[1].parts[0].constant=1: not"),
        (
            "q, shape: []}",
            "q, shape: [], constant: true}\n      - {name: p, shape: [8]}",
            "arguments[1].parts: qkv: a constant part comes before a varying one",
        ),
        ("      - {name: q, shape: []}\n", "      - 3\n", "arguments[1].parts[0]=3: not allowed"),
        (", value: -4", "", "arguments[5].value: missing; give a whole number, -2147483648 to "),
        ("value: -4", "value: 2147483648", "arguments[5].value=2147483648: not allowed; give a "),
        ("value: -4", "value: 1.0", "arguments[5].value=1.0: not allowed; give a whole number"),
        ("value: -4", "value: 4, dtype: float32", "arguments[5].dtype=float32: not allowed; "),
        ("spare, direction", "spare, shape: [3], direction", "arguments[6].shape: no such key; "),
        ("reference:compute", "reference", "reference=reference: not allowed; give module:func"),
        ("reference:compute", "../x:f", "reference=../x:f: not allowed; give module:function"),
        ("reference:compute", "os.path:join", "reference=os.path:join: not allowed; give mod"),
        ("reference:compute", "absent:f", "reference=absent:f: "),
        ("reference:compute", "reference:comput", "reference=reference:comput: no such function"),
        ("reference:compute", "reference:NUMBER", "reference=reference:NUMBER: not a function"),
        ("ops: 4096", "ops: !!python/object/apply:os.getcwd []", "line 21, column 6: not valid "),
        ("ops: 4096", "ops: 4096\nops: 4", "line 2, column 1: not valid YAML (ops is given twice)"),
        ("ops: 4096", "ops: " + "9" * 5000, "not valid YAML (Exceeds the limit"),
        ("ops: 4096", "<<: {ops: 3}", "line 21, column 1: not valid YAML (<< is not allowed)"),
        ("ops: 4096", "ops: [", "not valid YAML ("),
        ("ops: 4096", "ops: " + "[" * 2000, "not valid YAML (too many levels); correct the file"),
        ("ops: 4096", "# " + "x" * 70_000, "larger than 65536 bytes; declare one kernel only"),
        ("ops: 4096", BOMB, "more than 4096 values; declare one kernel only"),
        (WHOLE, "", "empty; give a line KEY: VALUE for each key"),
        (WHOLE, "- 3\n", "a list, not a mapping; give a line KEY: VALUE for each key"),
        (WHOLE, "ops: 3\n", "arguments: missing; give a list of 1 to 16"),
        (WHOLE, "arguments: []\n", "arguments=[]: not allowed; give a list of 1 to 16"),
        (WHOLE, SMALL + "  - {direction: unused}\n" * 15, "not allowed; give a list of 1 to 16 ("),
        (WHOLE, SMALL.replace("direction: out", "direction: in"), "kernel mine: no output; give "),
    ],
)
def test_a_wrong_declaration(folder: Path, old: str, new: str, said: str) -> None:
    assert WHOLE.count(old) >= 1
    (folder / "conf" / "kernel" / "mine.yaml").write_text(WHOLE.replace(old, new, 1))
    with pytest.raises(RequestError) as raised:
        load_kernel("mine")
    line = str(raised.value)
    assert line.startswith("conf/kernel/mine.yaml: ")
    assert said in line
    assert "\n" not in line
    assert len(line) < 400, "the content of a file can be long"


def test_files_that_are_no_text(folder: Path) -> None:
    path = folder / "conf" / "kernel" / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match=r"mine\.yaml: not a text file; save it as UTF-8"):
        load_kernel("mine")
    path.write_text("a: \x07")
    with pytest.raises(RequestError, match=r"mine.yaml: not valid YAML \("):
        load_kernel("mine")


@pytest.mark.parametrize("name", ["../conf/kernel/mine", "/etc/x", "", "a.b", "no such", "mi*"])
def test_a_name_is_no_path(folder: Path, name: str) -> None:
    with pytest.raises(RequestError, match="no such kernel"):
        load_kernel(name)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def compute(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("from harness.kernel import load_kernel\nload_kernel('absent')", "no such kernel"),
    ],
)
def test_a_module_that_cannot_be_loaded(folder: Path, code: str, said: str) -> None:
    (folder / "kernels" / "code" / "reference.py").write_text(code)
    with pytest.raises(RequestError) as raised:
        load_kernel("mine")
    line = str(raised.value)
    assert line.startswith("conf/kernel/mine.yaml: reference=reference:compute: ")
    assert "cannot be loaded (" in line
    assert said in line


def test_values_of_a_block_layout(folder: Path) -> None:
    part = load_kernel("mine").output.parts[1]
    array = np.arange(128, dtype=np.float32).astype(ml_dtypes.bfloat16).reshape(1, 8, 16)
    packed = part.pack(array)
    assert packed.view(ml_dtypes.bfloat16)[0, :8].tolist() == list(range(8))
    assert packed.view(ml_dtypes.bfloat16)[0, 8:16].tolist() == list(range(16, 24))
