"""The NPU design and the Makefile, run with stand-ins for mlir-aie and its tools: no real build."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support import native

from harness.kernel import kernels_root, load_kernel

KERNELS = kernels_root()


class Fifo:
    """Its own ends and elements, writing down what is done to them."""

    def __init__(self, element: Any, *, name: str, depth: int) -> None:
        self.size, self.name, self.log = element.__args__[0][0], name, LOG
        self.depth, self.held = depth, 0

    def prod(self) -> Fifo:
        return self

    cons = prod

    def acquire(self, count: int) -> str:
        self.held += count
        assert self.held <= self.depth
        return self.name

    def release(self, count: int) -> None:
        self.held -= count

    def fill(self, data: str) -> None:
        LOG.append(f"fill {self.name} from {data}")

    def drain(self, data: str, *, wait: bool) -> None:
        assert wait
        LOG.append(f"drain {self.name} to {data}")


LOG: list[str] = []


def kernel(name: str, object_file: str, types: list[Any]) -> Any:
    sizes = [each.__args__[0][0] for each in types]
    LOG.append(f"{name} of {object_file} on {sizes[0]}, {sizes[1]} bytes")
    return lambda *given: LOG.append(f"call with {', '.join(given)}")


class Worker:
    def __init__(self, core: Any, *, fn_args: list[Any], stack_size: int) -> None:
        assert stack_size % 32 == 0
        core(*fn_args)
        assert [fifo.held for fifo in fn_args[:2]] == [0, 0]


class Runtime:
    def __init__(self, sequence: Any, arguments: list[Any]) -> None:
        sequence("in", "out", *arguments[2:])


class Program:
    def __init__(self, device: str, runtime: Runtime, *, workers: list[Worker]) -> None:
        assert (device, len(workers)) == ("NPU1Col1", 1)

    def resolve_program(self) -> str:
        return "module"


@pytest.fixture
def iron(monkeypatch: pytest.MonkeyPatch) -> None:
    LOG.clear()
    for name, members in {
        "aie": {},
        "aie.iron": {
            "Kernel": kernel,
            "ObjectFifo": Fifo,
            "Program": Program,
            "Runtime": Runtime,
            "Worker": Worker,
        },
        "aie.iron.device": {"NPU1Col1": lambda: "NPU1Col1"},
    }.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize("name", native.NAMES)
def test_the_design_moves_a_tile_through_the_kernel(name: str, iron: None) -> None:
    spec = load_kernel(name)
    assert runpy.run_path(str(KERNELS / "design.py"))["design"](spec) == "module"
    assert [
        f"{name} of {name}.o on {spec.inputs[0].size_bytes}, {spec.output.size_bytes} bytes",
        "call with tile, out",
        "fill tile from in",
        "drain out to out",
    ] == LOG


@pytest.mark.parametrize("name", native.NAMES)
def test_the_source_defines_the_function(name: str) -> None:
    assert f'extern "C" void {name}(const int8_t *' in native.source_of(name).read_text()


@pytest.mark.parametrize("name", native.NAMES)
def test_a_core_has_memory_for_it(name: str) -> None:
    """An AIE2 core has 64 KiB: buffers, stack, and at most 4.5 KiB of static arrays and tables."""
    spec = load_kernel(name)
    assert spec.inputs[0].size_bytes + spec.output.size_bytes + 2048 + 4608 < 64 * 1024


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`make` in a copy of what it needs."""
    if not (folder / "kernels").exists():
        for part in ("kernels", "harness", "conf"):
            subprocess.run(["cp", "-r", str(KERNELS.parent / part), str(folder)], check=True)
    command = ["make", "-C", str(folder / "kernels"), f"PYTHON={sys.executable}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\nimport sys\nfrom pathlib import Path\n{text}\n")
    path.chmod(0o755)
    return path


def test_what_is_missing_is_reported(tmp_path: Path) -> None:
    compiler = script(tmp_path / "peano" / "bin" / "clang++", "")
    driver, peano = f"AIECC={compiler}", f"PEANO={tmp_path / 'peano'}"
    for given, said in (
        (["AIECC=no-aiecc", peano], "kernels: no no-aiecc; install mlir-aie"),
        ([driver, "PEANO="], "kernels: no Peano; install llvm-aie"),
        ([driver, peano], "cannot import aie.iron; install mlir_aie"),
    ):
        done = make(tmp_path, *given)
        assert done.returncode == 2
        assert said in done.stderr.splitlines()[0]
        assert not (tmp_path / "kernels" / "build").exists()


@pytest.mark.slow
def test_every_kernel_gets_what_the_hardware_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = "Path(next(each for each in sys.argv if each.startswith(flag)).partition('=')[2])"
    driver = script(
        tmp_path / "aiecc",
        "assert Path(sys.argv[-1]).read_text() == 'module\\n' "
        "and Path(sys.argv[-1]).with_suffix('.o').is_file()\n"
        "assert {'--get-xclbin', '--get-npu-insts', '--xclbin-kernel-name=MLIR_AIE'} "
        "< set(sys.argv)\n"
        f"for flag in ('--xclbin-name', '--npu-insts-name'): {named}.touch()",
    )
    script(
        tmp_path / "peano" / "bin" / "clang++",
        "assert '--target=aie2-none-unknown-elf' in sys.argv and Path(sys.argv[-3]).is_file()\n"
        "Path(sys.argv[-1]).touch()",
    )
    stand_in = (
        "from test_build import Fifo as ObjectFifo, Program, Runtime, Worker, kernel as Kernel\n"
    )
    for path, text in (
        ("iron/__init__.py", stand_in),
        ("iron/device.py", "def NPU1Col1(): return 'NPU1Col1'\n"),
    ):
        (tmp_path / "site" / "aie" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / "aie" / path).write_text(text)
    monkeypatch.setenv(
        "PYTHONPATH",
        os.pathsep.join([str(tmp_path / "site"), *map(str, Path(__file__).parents[:2])]),
    )
    done = make(tmp_path, f"AIECC={driver}", f"PEANO={tmp_path / 'peano'}")
    assert done.returncode == 0, done.stderr
    built = {path.name for path in (tmp_path / "kernels" / "build").iterdir()}
    assert {
        f"{name}{suffix}" for name in native.NAMES for suffix in (".xclbin", ".insts.bin")
    } <= built
    again = make(tmp_path, f"AIECC={driver}", f"PEANO={tmp_path / 'peano'}")
    assert "clang++ " not in again.stdout, "built twice"
