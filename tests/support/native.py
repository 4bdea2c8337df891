"""The kernels' C++, compiled by g++ for this machine; called here, or under sanitizers."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from harness.kernel import Bytes, KernelSpec, kernels_root, load_kernel

FLAGS = ("-std=c++17", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
SANITIZERS = ("-g", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")
NAMES = (
    "attention",
    "layernorm",
    "matmul",
    "matmul_64",
    "gelu",
    "attention_layernorm",
    "matmul_gelu",
)

# Buffers of their exact size on the heap, so that the address sanitizer sees a byte too far.
MAIN = """
#include <cstdint>
#include <cstdio>
#include <vector>
extern "C" void {name}(const int8_t *, int8_t *);
int main() {{
  std::vector<int8_t> in({given}), out({taken});
  while (std::fread(in.data(), 1, in.size(), stdin) == in.size()) {{
    {name}(in.data(), out.data());
    std::fwrite(out.data(), 1, out.size(), stdout);
  }}
}}
"""


def source_of(name: str) -> Path:
    folder = name if (kernels_root() / name).is_dir() else name.rpartition("_")[0]
    return kernels_root() / folder / f"{folder}.cc"


def compile_with(flags: tuple[str, ...], *files: Path, into: Path) -> str:
    """What g++ said, empty if it made `into`; skips the test where there is no g++."""
    gxx = shutil.which("g++")
    if gxx is None:
        pytest.skip("no g++: install it to compare the C++ of the kernels with their references")
    done = subprocess.run(
        [gxx, *FLAGS, *flags, *map(str, files), "-o", str(into)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr if done.returncode else ""


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory()


@cache
def _library(source: Path) -> ctypes.CDLL:
    path = Path(_folder().name) / f"{source.stem}.so"
    said = compile_with(("-shared", "-fPIC"), source, into=path)
    assert not said, said
    return ctypes.CDLL(str(path))


def compute(name: str, packed: Bytes) -> Bytes:
    """What the C++ makes of packed tiles, (tiles, size_bytes) uint8."""
    function = getattr(_library(source_of(name)), name)
    packed, out = (
        np.ascontiguousarray(packed),
        np.zeros((len(packed), load_kernel(name).output.size_bytes), np.uint8),
    )
    for given, taken in zip(packed, out, strict=True):
        function(ctypes.c_void_p(given.ctypes.data), ctypes.c_void_p(taken.ctypes.data))
    return out


def compute_sanitized(name: str, packed: Bytes, folder: Path) -> Bytes:
    """The same under the sanitizers of undefined behaviour and addresses, which end the process."""
    spec = load_kernel(name)
    main, program = folder / "main.cc", folder / "main"
    main.write_text(
        MAIN.format(name=name, given=spec.inputs[0].size_bytes, taken=spec.output.size_bytes)
    )
    said = compile_with(SANITIZERS, source_of(name), main, into=program)
    if "asan" in said or "ubsan" in said:
        pytest.skip("no sanitizers: install libasan and libubsan of this g++")
    assert not said, said
    done = subprocess.run([program], input=packed.tobytes(), capture_output=True, check=False)
    assert not done.returncode, done.stderr.decode()
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, spec.output.size_bytes)


def compared(spec: KernelSpec, *arrays: np.ndarray) -> np.ndarray:
    """The reference's output array, if the C++ gives the same."""
    packed = spec.inputs[0].pack(*arrays)
    expected = spec.compute(packed)
    np.testing.assert_array_equal(compute(spec.name, packed), expected)
    return spec.output.unpack(expected)[0]
