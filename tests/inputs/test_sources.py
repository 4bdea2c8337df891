"""Tiles of any element type and shape, from random numbers, zeros and files of arrays."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from harness.config.compose import load
from harness.errors import RequestError
from harness.execution.experiment import Experiment
from harness.execution.outcome import Verdict
from harness.execution.prepare import preflight
from harness.execution.work import work_of
from harness.inputs.chain import Chain, Link
from harness.inputs.check import check_inputs
from harness.inputs.draw import RANGES, Distribution, Draw, from_int8
from harness.inputs.generate import make_chain_tiles, make_tiles
from harness.inputs.tiles import Tiles
from harness.kernel import DTYPES, load_kernel
from harness.kernel.dtypes import array_dtype
from harness.measure.metric import Work
from harness.results.record import record_of
from harness.results.run_key import input_hashes, run_key

KERNELS = """
import numpy as np
from harness.kernel import DTYPES, Buffer, Direction, KernelSpec, Part

SHAPES = ((), (5,), (3, 4), (2, 3, 4), (2, 1, 3, 4), (2, 1, 2, 3, 2))

def spec(name, dtype, shape):
    return KernelSpec(
        name,
        (
            Buffer("values", (Part("x", shape, dtype), Part("w", (3,), dtype, constant=True))),
            Buffer("out", (Part("y", shape, dtype),), Direction.OUT),
        ),
        reference=lambda x, w: x,
    )

def two(name):
    parts = (Part("a", (2, 3)), Part("b", (4,), "float32"), Part("g", (2,), constant=True))
    return KernelSpec(
        name,
        (Buffer("values", parts), Buffer("out", (Part("y", (2, 3)),), Direction.OUT)),
        reference=lambda a, b, g: a,
    )

SPEC = spec("own", "int8", (3, 4))
VARIANTS = (
    two("own_two"),
    *(spec(f"own_{dtype}_{len(shape)}", dtype, shape) for dtype in DTYPES for shape in SHAPES),
)
"""


@pytest.fixture(autouse=True)
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel for each element type and number of dimensions; the current folder is empty."""
    (tmp_path / "kernels" / "own").mkdir(parents=True)
    (tmp_path / "kernels" / "own" / "spec.py").write_text(KERNELS)
    monkeypatch.chdir(tmp_path)


def no_clock() -> int:
    return 0


def tiles_of(kernel: str, source: str, tiles: int = 7, **options: Any) -> Tiles:
    return make_tiles(kernel, tiles, source, 0, no_clock, tiles, **options)


def arrays_of(tiles: Tiles) -> dict[str, np.ndarray]:
    (buffer,), (packed,) = tiles.spec.inputs, tiles.packed
    return dict(zip([part.name for part in buffer.parts], buffer.unpack(packed), strict=True))


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(RequestError) as raised:
        call()
    (line,) = str(raised.value).splitlines()
    return line


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dimensions", range(6))
def test_every_type_and_number_of_dimensions(dtype: str, dimensions: int) -> None:
    kernel = f"own_{dtype}_{dimensions}"
    for source in ("random", "speech"):
        arrays = arrays_of(tiles_of(kernel, source, 40))
        x, w = arrays["x"], arrays["w"]
        assert x.dtype == w.dtype == array_dtype(dtype)
        low, high = RANGES[dtype] if source == "random" else (-128, 255)
        assert low <= x.min() < x.max() <= high
        distinct = len(np.unique(x.reshape(40, -1).astype(float), axis=0))
        assert distinct == 40 or (dimensions < 2 and distinct > 4)
        assert (w == w[0]).all()
    assert not arrays_of(tiles_of(kernel, "zeros"))["x"].any()


def test_speech_of_other_types_is_the_int8_values() -> None:
    values = np.array([-128, -33, -1, 0, 32, 127], np.int8)
    expected: dict[str, list[float]] = {
        "int4": [-8, -3, -1, 0, 2, 7],
        "uint8": [0, 95, 127, 128, 160, 255],
        "int16": values.tolist(),
        "float32": [-4, -1.03125, -0.03125, 0, 1, 3.96875],
    }
    expected |= {"int8": expected["int16"], "int32": expected["int16"]}
    expected |= {"float16": expected["float32"], "bfloat16": expected["float32"]}
    for dtype in DTYPES:
        converted = from_int8(values, dtype)
        assert converted.dtype == array_dtype(dtype)
        assert converted.astype(float).tolist() == expected[dtype]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("distribution", Distribution)
def test_values_are_drawn_from_the_range(dtype: str, distribution: Distribution) -> None:
    draw = Draw(distribution, (1, 6))
    values = draw.array(np.random.default_rng(0), dtype, (6000,)).astype(float)
    assert (values.min(), values.max()) == pytest.approx((1, 6), abs=0.05)
    assert values.mean() == pytest.approx(3.5, abs=0.1)
    spread = {Distribution.uniform: 1.6, Distribution.normal: 5 / 6}[distribution]
    assert values.std() == pytest.approx(spread, abs=0.2)
    assert len(np.unique(values)) == 6 or "int" not in dtype


def test_the_largest_ranges() -> None:
    for dtype, limits in {"int32": (-(2**31), 2**31 - 1), "float32": (-3e38, 3e38)}.items():
        draw = Draw(limits=limits)
        draw.check("x", dtype)
        values = draw.array(np.random.default_rng(0), dtype, (1000,)).astype(float)
        assert np.isfinite(values).all()
        assert values.min() < 0.9 * limits[0]
        assert values.max() > 0.9 * limits[1]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["workload.range=[1]"], "workload.range=[1]: not a range; give the least and the"),
        (["workload.range=[3,3]"], "workload.range=[3,3]: not a range"),
        (["workload.range=[nan,1]"], "not a range"),
        (["workload.range=[low,1]"], "workload.range"),
        (["workload.range=3"], "workload.range"),
        (["workload.range=[0,300]"], "[0,300]: x is int8; allowed: -128 to 127"),
        (["workload.range=[0.5,3]"], "[0.5,3]: x is int8; give whole numbers"),
        (["workload.range=[0,inf]", "workload.kernel=own_float16_2"], "allowed: -65504 to 65504"),
        (["workload.distribution=gauss"], "workload.distribution=gauss"),
        (
            ["workload.source=zeros", "workload.distribution=normal"],
            "workload.distribution=normal: belongs to random tiles, not to workload.source=zeros",
        ),
        (["workload.source=speech", "workload.range=[0,1]"], "belongs to random tiles"),
        (["workload.constants=w.npy"], "workload.constants=w.npy: not a file of named arrays"),
        (
            ["workload.constants=w.npz"],
            "workload.constants=w.npz: no such file or directory; give the path of an .npz or",
        ),
        (["workload.source=x.npy"], "workload.source=x.npy: no such file or directory; give"),
        (["workload.source=x.safetensors"], "x.safetensors: no such file or directory; give"),
        (["workload.source=zeros", "workload.host_ms=measured"], "zeros tiles have no prep"),
    ],
)
def test_wrong_keys(overrides: list[str], said: str) -> None:
    common = ("workload.kernel=own", "workload.source=random", "+device.exec_ns.own=1")
    assert said in refusal(lambda: preflight(load(*common, *overrides)))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["workload.source=zeros"], "whisper_base encodes audio; give speech, random or an audio"),
        (["workload.source=x.npz"], "workload.source=x.npz: whisper_base encodes audio"),
        (["workload.constants=w.npz"], "belongs to the tiles of a kernel or a chain; use workload"),
        (["workload.source=random", "workload.range=[0,1]"], "belongs to the tiles of a kernel"),
    ],
)
def test_an_encoder_takes_audio(overrides: list[str], said: str) -> None:
    assert said in refusal(lambda: load("workload=whisper_base", *overrides))


TIME = "+device.exec_ns.own=1000"
X = np.arange(60, dtype=np.int8).reshape(5, 3, 4)
W = np.array([7, 8, 9], np.int8)
A, B = X[:, :2, :3], np.arange(20, dtype=np.float32).reshape(5, 4)


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors"])
def test_tiles_of_a_file(suffix: str) -> None:
    path, arrays = f"x.{suffix}", {"x": X, "w": W}
    if suffix == "npy":
        np.save(path, X)
    else:
        write(path, arrays)
    tiles = tiles_of("own", path, 5)
    found = arrays_of(tiles)
    assert (found["x"] == X).all()
    drawn = arrays_of(tiles_of("own", "random"))["w"][0]
    assert (found["w"][0] == (drawn if suffix == "npy" else W)).all()
    assert (tiles.audio_s, tiles.host_ns, tiles.remarks) == (0.0, 0, ())


def write(path: str, arrays: dict[str, np.ndarray]) -> None:
    if path.endswith("npz"):
        np.savez(path, **arrays)
    else:
        save_file({name: np.ascontiguousarray(each) for name, each in arrays.items()}, path)


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors"])
def test_bfloat16_of_a_file(suffix: str) -> None:
    """An .npy stores its elements as two bytes each, without the name of their type."""
    values = X.astype(ml_dtypes.bfloat16)
    if suffix == "npy":
        np.save("x.npy", values)
    else:
        write(f"x.{suffix}", {"x": values})
    found = arrays_of(tiles_of("own_bfloat16_2", f"x.{suffix}", 5))["x"]
    assert found.dtype == values.dtype
    assert (found == values).all()


def test_several_parts_of_a_file() -> None:
    write("ab.npz", {"a": A, "b": B, "g": W[:2]})
    found = arrays_of(tiles_of("own_two", "ab.npz", 5))
    assert (found["a"] == A).all()
    assert (found["b"] == B).all()
    assert (found["g"] == W[:2]).all()


def test_constants_of_a_file_alone() -> None:
    write("w.npz", {"w": W})
    for source in ("speech", "random", "zeros"):
        assert (arrays_of(tiles_of("own", source, constants="w.npz"))["w"] == W).all()
    write("more.npz", {"w": W + 1})
    write("x.npz", {"x": X, "w": W})
    assert (arrays_of(tiles_of("own", "x.npz", constants="more.npz"))["w"] == W + 1).all()


@pytest.mark.parametrize(
    ("kernel", "arrays", "said"),
    [
        ("own", {"x": X.astype(np.int32)}, "is int32[5, 3, 4]; give int8[tiles, 3, 4]; convert it"),
        ("own", {"x": X.astype(">i2")}, "is >i2[5, 3, 4]; give int8[tiles, 3, 4]"),
        ("own", {"x": X[:, :2]}, "array x is int8[5, 2, 4]; give int8[tiles, 3, 4]"),
        ("own", {"x": X[0]}, "array x is int8[3, 4]; give int8[tiles, 3, 4]; for a single tile"),
        ("own", {"x": np.int8(3)}, "array x is int8[]; give int8[tiles, 3, 4]"),
        ("own", {"x": X[:0]}, "has no tiles; give one or more"),
        ("own", {"y": X}, "unknown array y; allowed: w, x"),
        ("own", {"w": W}, "array x is missing; give int8[tiles, 3, 4]"),
        ("own", {"x": X, "w": X}, "array w is int8[5, 3, 4]; give int8[3]"),
        ("own", {}, "array x is missing"),
        ("own_bfloat16_2", {"x": X}, "convert it: array.astype(ml_dtypes.bfloat16)"),
        ("own_two", {"a": A, "b": B[:4]}, "numbers of tiles differ: a 5, b 4; give equal ones"),
        ("own_two", {"a": A}, "array b is missing; give float32[tiles, 4]"),
        ("own", {"x": np.array([None])}, "has Python objects in it (pickle), which are never loa"),
    ],
)
def test_files_of_another_kernel(kernel: str, arrays: dict[str, Any], said: str) -> None:
    np.savez("x.npz", **arrays)
    spec = load_kernel(kernel)
    line = refusal(lambda: check_inputs([spec], "x.npz"))
    assert line.startswith("workload.source=x.npz: ")
    assert said in line


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("x.npy", b"", "not a whole .npy file (ValueError); write it again"),
        ("x.npy", pickle.dumps([1]), "not a whole .npy file"),
        ("x.npz", b"PK", "not a whole .npz file"),
        ("x.npz", pickle.dumps([1]), "not a whole .npz file"),
        ("x.safetensors", b"\xff" * 20, "not a whole .safetensors file"),
    ],
)
def test_files_that_are_none(path: str, content: bytes, said: str) -> None:
    Path(path).write_bytes(content)
    assert said in refusal(lambda: check_inputs([load_kernel("own")], path))


@pytest.mark.parametrize("suffix", ["npy", "npz", "safetensors"])
def test_files_cut_short(suffix: str) -> None:
    path = Path(f"x.{suffix}")
    if suffix == "npy":
        np.save(path, X)
    else:
        write(str(path), {"x": X})
    path.write_bytes(path.read_bytes()[:-9])
    assert "not a whole" in refusal(lambda: check_inputs([load_kernel("own")], str(path)))


def test_objects_in_an_npy() -> None:
    np.save("x.npy", np.array([None]), allow_pickle=True)
    assert "never loaded" in refusal(lambda: check_inputs([load_kernel("own")], "x.npy"))


def test_one_array_for_several_parts() -> None:
    np.save("x.npy", A)
    line = refusal(lambda: check_inputs([load_kernel("own_two")], "x.npy"))
    assert "has one array without a name, and kernel own_two takes 2: a, b; give an .npz" in line


def test_int4_beyond_its_range() -> None:
    np.save("x.npy", X)
    line = refusal(lambda: tiles_of("own_int4_2", "x.npy"))
    assert line == "workload.source=x.npy: int4: given values from 0 to 59; allowed: -8 to 7"


def test_constants_of_a_chain() -> None:
    own, two = load_kernel("own"), load_kernel("own_two")
    write("c.npz", {"own.w": W, "g": W[:2]})
    check_inputs([own, two], "random", constants="c.npz")
    line = refusal(lambda: check_inputs([own], "random", constants="c.npz"))
    assert line == "workload.constants=c.npz: unknown array g; allowed: own.w, w"
    # Not only before a sweep: a single run creates its tiles without that check.
    arguments = Chain((own,)), 1, "random", 0, lambda: 0, 1
    assert refusal(lambda: make_chain_tiles(*arguments, constants="c.npz")) == line


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    write("x.safetensors", {"x": X})
    monkeypatch.setitem(sys.modules, "safetensors", None)
    line = refusal(lambda: check_inputs([load_kernel("own")], "x.safetensors"))
    assert "needs the package safetensors; pip install '.[safetensors]'" in line


@pytest.mark.parametrize(
    ("tiles", "between", "period", "remark"),
    [
        (5, 1, 5, ""),
        (4, 2, 4, ""),
        (9, 1, 5, "has 5 tiles, fewer than workload.tiles=9; they repeat"),
        (9, 10, 4, "has 5 tiles, fewer than workload.tiles=9; the first 4 of them repeat"),
    ],
)
def test_too_few_tiles_repeat(tiles: int, between: int, period: int, remark: str) -> None:
    np.save("x.npy", X)
    found = tiles_of("own", "x.npy", tiles, between=between)
    assert found.period == period
    assert [*found.remarks] == [f"workload.source=x.npy: {remark}"] * bool(remark)


def test_equal_tiles_are_remarked() -> None:
    np.save("x.npy", X[[0, 0, 0]])
    said = "all tiles are the same, so an output in the place of another tile's is not detected"
    for source in ("x.npy", "zeros"):
        assert tiles_of("own", source, 3).remarks == (f"workload.source={source}: {said}",)
        assert tiles_of("own", source, 1).remarks == ()


def test_a_changed_file_is_read_again() -> None:
    np.save("x.npy", X)
    before, key = tiles_of("own", "x.npy", 5), input_hashes({"source": "x.npy"})
    assert tiles_of("own", "x.npy", 5) is before
    np.save("x.npy", np.concatenate([X[::-1], X]))
    assert (arrays_of(tiles_of("own", "x.npy", 5))["x"] == X[::-1]).all()
    assert input_hashes({"source": "x.npy"}) != key
    assert input_hashes({"source": "speech", "constants": "", "weights": "random"}) == {}
    write("w.npz", {"w": W})
    named = input_hashes({"source": "zeros", "constants": "w.npz", "weights": "x.npy"})
    assert list(named) == ["w.npz", "x.npy"]


def test_the_key_of_a_run_has_the_content_of_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large file, the beginning, and the time of change, which a change of its end changes."""
    np.save("x.npy", X)
    config: dict[str, Any] = {"workload": {"source": "x.npy"}, "measure": {"warmup": 1}}
    config["device"] = {"clock": "virtual"}
    keys = [run_key(config)]
    for most in (10**6, 60):
        monkeypatch.setattr("harness.results.run_key.MOST_HASHED_BYTES", most)
        for change in (1, 2):
            np.save("x.npy", np.concatenate([X[:4], X[4:] + change + most % 7]))
            os.utime("x.npy", ns=(0, most + change))
            keys.append(run_key(config))
    assert len(set(keys)) == 5
    outcome = Experiment(load("workload.kernel=own", "workload.source=x.npy", TIME)).run()
    record = record_of(outcome, config, "pipelined", [])
    assert list(record.input_hashes) == ["x.npy"]
    assert record.run_key == keys[-1]


def test_only_the_used_tiles_of_a_large_file_are_read() -> None:
    """A sparse file of 64 GB."""
    array = np.lib.format.open_memmap("x.npy", "w+", np.int8, (2**36 // 12, 3, 4))
    array[:5] = X
    del array
    check_inputs([load_kernel("own")], "x.npy")
    assert (arrays_of(tiles_of("own", "x.npy", 5))["x"] == X).all()


@pytest.mark.parametrize("source", ["zeros", "x.npy", "random"])
def test_a_run(source: str) -> None:
    np.save("x.npy", X)
    keys = ("workload.kernel=own", f"workload.source={source}", "+device.exec_ns.own=1000")
    experiment = Experiment(load(*keys, "workload.tiles=7", "strategy=pipelined"))
    outcome = experiment.run()
    assert (outcome.verdict, outcome.reason) == (Verdict.OK, "")
    assert len(experiment.remarks) == (source != "random")
    assert outcome.audio == replace(outcome.audio, tiles=None, seconds=11.0 * (source == "random"))


def test_the_work_of_a_tile() -> None:
    """Of `own`: 12 values and 3 constants in, 12 values out, and no operations declared."""
    chain, device = Chain((load_kernel("own"),)), load("device=phoenix_2026").device
    tops, bytes_per_ns = pytest.approx(14_745.6), pytest.approx(54, abs=1)
    assert work_of(chain, device, resident=False) == Work(None, 27, tops, bytes_per_ns)
    assert work_of(chain, load().device, resident=True) == Work(None, 24, tops)
    twice = Chain((replace(load_kernel("own"), ops=7),) * 2, (Link.exact,))
    slower = load("device.power_mode=powersaver", "device.columns=2").device
    assert work_of(twice, slower, resident=False) == Work(14, 54, pytest.approx(3_276.8))
    halves = Chain((load_kernel("own_float16_2"),))
    for other in (load().device, load("device=cpu").device):
        assert work_of(halves, other, resident=True) == Work(None, 48)
