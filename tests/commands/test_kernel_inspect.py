"""`harness kernel inspect`: tables of an xclbin, the YAML of its kernel, and wrong files."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.axlf_file import (
    ARGUMENTS,
    METADATA,
    PARTITION,
    SCALAR,
    TYPICAL,
    UUID,
    UUID_TEXT,
    arg,
    build,
    kernel,
    partition,
    xml,
)
from support.txn_file import MM2S, S2MM, stream, transfer

from harness.commands.main import dispatch

IMAGE = partition(8, (UUID, 100, (0x901,)))
FILE = build({**TYPICAL, PARTITION: IMAGE}, b"xilinx:npu")
INSTRUCTIONS = stream(*transfer(0, MM2S), *transfer(2, S2MM, column=1), generation=4, columns=8)
OVERLAY = kernel("DPU", arg(0, "opcode", "uint64_t", SCALAR), arg(1, "ifm"), arg(2, "param"))
"""A kernel with the arguments of another order, as in the overlays of Ryzen AI."""
Inspect = Callable[..., str]


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("relu.xclbin").write_bytes(FILE)
    Path("relu.bin").write_bytes(INSTRUCTIONS)


@pytest.fixture
def inspect(capfd: pytest.CaptureFixture[str]) -> Inspect:
    """Run the command on `relu.xclbin`; returns its output."""

    def run(*arguments: str, file: str = "relu.xclbin") -> str:
        code = dispatch(["kernel", "inspect", file, *arguments])
        out, err = capfd.readouterr()
        assert (code, err) == (0, "")
        return out

    return run


@pytest.fixture
def refuse(capfd: pytest.CaptureFixture[str]) -> Inspect:
    """Run a command that must exit with 2; returns its line on stderr."""

    def run(*arguments: str) -> str:
        code = dispatch(["kernel", *arguments])
        out, err = capfd.readouterr()
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert err.strip().isprintable()
        return err.removeprefix("harness: ").strip()

    return run


def rows(text: str) -> dict[str, list[dict[str, Any]]]:
    tables: dict[str, list[dict[str, Any]]] = json.loads(text)
    return tables


def test_tables(inspect: Inspect) -> None:
    found = rows(inspect("--json", "--insts", "relu.bin"))
    assert list(found) == ["file", "kernels", "arguments", "banks", "instructions"]
    assert {row["xclbin"]: row["value"] for row in found["file"]} == {
        "uuid": UUID_TEXT,
        "platform": "xilinx:npu",
        "columns": 8,
        "begins at column": "1",
        "operations per cycle": 2048,
        "images (PDIs)": 1,
        "bytes of images": 100,
    }
    (row,) = found["kernels"]
    assert row == {
        "kernel": "MLIR_AIE",
        "arguments": 8,
        "bos": 6,
        "dpu_id": "0x901",
        "image_bytes": 100,
        "can run": "yes",
    }
    assert found["arguments"][2:4] == [
        {
            "kernel": "MLIR_AIE",
            "index": 2,
            "name": "ninstr",
            "type": "uint32_t",
            "qualifier": "scalar",
            "bytes": 4,
            "bank": "-",
            "instructions": "-",
        },
        {
            "kernel": "MLIR_AIE",
            "index": 3,
            "name": "bo0",
            "type": "void*",
            "qualifier": "global",
            "bytes": 8,
            "bank": "HOST",
            "instructions": "reads",
        },
    ]
    assert [row["instructions"] for row in found["arguments"][3:]] == [
        *("reads", "-", "writes", "-", "-")
    ]
    assert [row["bank"] for row in found["banks"]] == ["HOST", "SRAM"]
    assert {row["instructions"]: row["value"] for row in found["instructions"]} == {
        "bytes": len(INSTRUCTIONS),
        "form": "binary",
        "device": "NPU2 (Strix, Krackan)",
        "columns of the device": 8,
        "operations": 6,
    }


def test_the_yaml_follows_the_tables(inspect: Inspect) -> None:
    text = inspect()
    assert text.endswith("\n\n" + inspect("--yaml"))
    assert "# " not in inspect("-q").replace("# argument", "")


def test_the_yaml_marks_what_the_xclbin_does_not_declare(inspect: Inspect, tmp_path: Path) -> None:
    text = inspect("--yaml")
    found = yaml.safe_load(text)
    assert found.pop("arguments") == [
        {"name": f"bo{number}", "direction": None, "dtype": None, "shape": None}
        for number in range(5)
    ]
    assert found == {
        "xclbin": f"{tmp_path}/relu.xclbin",
        "kernel": "MLIR_AIE",
        "tolerance": {"kind": "exact"},
        "ops": None,
        "cost": {"ns": None},
    }
    assert text.count("# fill in") == 3 * 5 + 2


def test_instructions_give_directions(inspect: Inspect, tmp_path: Path) -> None:
    found = yaml.safe_load(inspect("--yaml", "--insts", "relu.bin"))
    assert found["insts"] == f"{tmp_path}/relu.bin"
    directions = [each["direction"] for each in found["arguments"]]
    assert directions == ["in", "unused", "out", "unused", "unused"]
    assert [list(each) for each in found["arguments"]][:2] == [
        ["name", "direction", "dtype", "shape"],
        ["name", "direction"],
    ]


def test_files_in_the_folder_of_the_kernel_are_relative_to_it(inspect: Inspect) -> None:
    Path("kernels/relu/build").mkdir(parents=True)
    Path("relu.xclbin").rename("kernels/relu/build/relu.xclbin")
    found = yaml.safe_load(inspect("--yaml", file="kernels/relu/build/relu.xclbin"))
    assert found["xclbin"] == "build/relu.xclbin"


def test_scalars_and_strange_names(inspect: Inspect) -> None:
    scalars = (
        arg(3, "yes", "int32_t", SCALAR),
        arg(4, "a: b #", "float", SCALAR),
        arg(5, "&#10;- x", "uint32_t", SCALAR),
        arg(6, "yes", "int", SCALAR),
        arg(7, "8", "int", SCALAR),
    )
    metadata = xml(kernel("MLIR&#x9b;AIE: 1", *ARGUMENTS[:3], *scalars))
    Path("relu.xclbin").write_bytes(build({METADATA: metadata}))
    found = yaml.safe_load(inspect("--yaml"))
    assert found["kernel"] == "MLIR\x9bAIE: 1"
    assert found["arguments"] == [
        {"name": "yes", "direction": "scalar", "dtype": "int32", "value": None},
        {"name": "a__b__", "direction": "scalar", "dtype": None, "value": None},
        {"name": "___x", "direction": "scalar", "dtype": "int32", "value": None},
        {"name": "argument_6", "direction": "scalar", "dtype": "int32", "value": None},
        {"name": "argument_7", "direction": "scalar", "dtype": "int32", "value": None},
    ]
    tables = inspect()
    assert "MLIR?AIE: 1" in tables
    assert "?- x" in tables


def test_write_a_file_once(inspect: Inspect, refuse: Inspect) -> None:
    text = inspect("--yaml", "--name", "mine")
    assert inspect("--write", "--name", "mine") == "written: conf/kernel/mine.yaml\n"
    path = Path("conf/kernel/mine.yaml")
    assert path.read_text() == text
    path.write_text("# changed\n")
    line = refuse("inspect", "relu.xclbin", "--write", "--name", "mine")
    assert line.startswith("conf/kernel/mine.yaml: already exists; ")
    assert path.read_text() == "# changed\n"
    Path("conf/kernel/x.yaml").symlink_to("elsewhere")
    assert "already exists" in refuse("inspect", "relu.xclbin", "--write", "--name", "x")
    assert not Path("conf/kernel/elsewhere").exists()


def test_several_kernels(inspect: Inspect, refuse: Inspect) -> None:
    kernels = xml(kernel("MLIR_AIE", *ARGUMENTS), OVERLAY, kernel("none", *ARGUMENTS[:3]))
    Path("relu.xclbin").write_bytes(build({**TYPICAL, METADATA: kernels}))
    text = inspect()
    assert text.endswith("--kernel NAME prints the arguments of a kernel, and its YAML\n")
    assert "opcode" not in text
    found = rows(inspect("--json"))
    assert [row["can run"] for row in found["kernels"]] == [
        "yes",
        "no: argument 2 (param) is a buffer",
        "no: 3 arguments, none for data",
    ]
    assert [row["kernel"] for row in found["arguments"]][7:9] == ["MLIR_AIE", "DPU"]
    assert yaml.safe_load(inspect("--yaml", "--kernel", "MLIR_AIE"))["kernel"] == "MLIR_AIE"
    assert "ifm" in inspect("--kernel", "DPU")
    assert "contains MLIR_AIE, DPU, none; choose one" in refuse("inspect", "relu.xclbin", "--yaml")
    line = refuse("inspect", "relu.xclbin", "--kernel", "DPU", "--write")
    assert "kernel DPU: argument 2 (param) is a buffer; the harness passes opcode" in line
    line = refuse("inspect", "relu.xclbin", "--kernel", "MLIR_AI")
    assert "did you mean MLIR_AIE?" in line


def test_text_instructions(inspect: Inspect) -> None:
    numbers = [INSTRUCTIONS[place : place + 4][::-1].hex() for place in range(0, 300, 4)]
    Path("relu.txt").write_text("\n".join(numbers))
    found = rows(inspect("--json", "--insts", "relu.txt"))["instructions"]
    assert found[1]["value"] == "hexadecimal text"
    assert found[2]["value"] == "NPU2 (Strix, Krackan)"


def test_instructions_that_are_cut_or_of_another_kernel(inspect: Inspect) -> None:
    Path("cut.bin").write_bytes(INSTRUCTIONS[:-4])
    found = rows(inspect("--json", "--insts", "cut.bin"))["instructions"]
    size = len(INSTRUCTIONS)
    assert found[-1]["value"] == f"{size - 4} bytes; the header states {size}"
    Path("other.bin").write_bytes(stream(*transfer(5, MM2S)))
    found = rows(inspect("--json", "--insts", "other.bin"))["instructions"]
    assert found[-1]["value"] == "they use argument 8; kernel MLIR_AIE declares 0 to 7"
    Path("old.bin").write_bytes(stream(version=1))
    found = rows(inspect("--json", "--insts", "old.bin"))["instructions"]
    assert found[-1]["value"] == "unknown version"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty, not an xclbin"),
        (b"text", "a file of another format, not an xclbin"),
        (b"\x7fELF\x01\x01", "an ELF file, not an xclbin"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (FILE[:300], "truncated xclbin: 300 bytes of 456"),
        (FILE[:-100], "truncated xclbin: "),
        (build({PARTITION: partition(4)[:100]}), "AIE_PARTITION of 100 bytes"),
        (build({PARTITION: IMAGE[:300]}), "AIE_PARTITION of 300 bytes refers to bytes"),
        (build({METADATA: b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + xml()}), "DOCTYPE"),
        (build({METADATA: b"<a>" * 100_000}), "unreadable text"),
        (build({METADATA: xml()}), ""),
    ],
)
def test_wrong_xclbins(refuse: Inspect, content: bytes, reason: str) -> None:
    Path("relu.xclbin").write_bytes(content)
    line = refuse("inspect", "relu.xclbin", "--yaml")
    assert line.startswith("relu.xclbin: ")
    assert reason in line
    assert "; " in line


def test_no_file(refuse: Inspect) -> None:
    os.mkfifo("pipe")
    for name, reason in {"absent": "no such file", "pipe": "not a file", ".": "not a file"}.items():
        assert refuse("inspect", name).startswith(f"{name}: {reason}; ")
        assert refuse("inspect", "relu.xclbin", "--insts", name).startswith(f"{name}: {reason}; ")


@pytest.mark.parametrize("content", [b"", b"xyz", FILE, b"version https://git-lfs.github.com/"])
def test_wrong_instructions(refuse: Inspect, content: bytes) -> None:
    Path("wrong.bin").write_bytes(content)
    line = refuse("inspect", "relu.xclbin", "--insts", "wrong.bin")
    assert line.startswith("wrong.bin: ")
    assert "instructions" in line


def test_a_huge_file_is_not_read_whole(inspect: Inspect, refuse: Inspect) -> None:
    """Of an xclbin, only its metadata; of instructions beyond the limit, nothing."""
    with Path("relu.xclbin").open("r+b") as file:
        file.truncate(1 << 40)
    with Path("huge.bin").open("wb") as file:
        file.truncate(1 << 40)
    inspect()
    tracemalloc.start()
    try:
        inspect()
        assert "huge.bin: 1099511627776 bytes; instructions have at most 67108864" in refuse(
            "inspect", "relu.xclbin", "--insts", "huge.bin"
        )
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "1a", "a.b", "ä"])
def test_a_name_that_is_none(refuse: Inspect, name: str) -> None:
    line = refuse("inspect", "relu.xclbin", "--write", "--name", name)
    assert line.startswith(f"--name {name}: not a name of a kernel; ")
    assert not Path("conf").exists()


def test_words(refuse: Inspect, capfd: pytest.CaptureFixture[str]) -> None:
    assert refuse().startswith("kernel needs a command: ")
    assert refuse("inspct").startswith("kernel inspct: no such command; did you mean inspect?")
    assert refuse("inspect") == ("kernel inspect needs a file: harness kernel inspect FILE.xclbin")
    assert dispatch(["kernel", "inspect", "--help"]) == 0
    assert "--insts FILE" in capfd.readouterr().out
