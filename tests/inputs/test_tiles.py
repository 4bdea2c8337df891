"""Tiles of every kernel from every source: constants stay the same, and the rest differs.

Attention's tiles are as ever.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from support import native

from harness.config.compose import load
from harness.errors import RequestError
from harness.execution.experiment import Experiment
from harness.execution.outcome import Outcome, Verdict
from harness.inputs.generate import make_tiles
from harness.inputs.tiles import Tiles
from harness.kernel import load_kernel
from harness.report.run_lines import footnotes
from harness.results.record import record_of

SOURCES = ("speech", "random")


def tiles_of(kernel: str, source: str, tiles: int = 40, seed: int = 0) -> Tiles:
    return make_tiles(kernel, tiles, source, seed, lambda: 0, tiles)


def parts_of(tiles: Tiles) -> dict[str, np.ndarray]:
    arrays = [
        array
        for buffer, packed in zip(tiles.spec.inputs, tiles.packed, strict=True)
        for array in buffer.unpack(packed)
    ]
    return dict(zip([part.name for part in tiles.spec.parts], arrays, strict=True))


@pytest.mark.parametrize(
    ("source", "seed", "tiles", "digest"),
    [
        ("speech", 0, 10, "0b0c3cbb69c98cb8"),
        ("speech", 0, 1021, "49e1ed31dea10f7f"),
        ("speech", 7, 100, "6f0480d363fadad5"),
        ("random", 0, 10, "76cb66c13e53c30c"),
        ("random", 0, 1021, "58e178e587c497ff"),
    ],
)
def test_tiles_of_attention_are_as_in_earlier_records(
    source: str, seed: int, tiles: int, digest: str
) -> None:
    (packed,) = tiles_of("attention", source, tiles, seed).packed
    assert sha256(packed.tobytes()).hexdigest().startswith(digest)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kernel", native.NAMES)
def test_only_constants_are_the_same_in_every_tile(kernel: str, source: str) -> None:
    tiles = tiles_of(kernel, source)
    for part in tiles.spec.parts:
        array = parts_of(tiles)[part.name].reshape(40, -1)
        distinct = len(np.unique(array, axis=0))
        assert distinct == (1 if part.constant else 40), part.name
        assert len(np.unique(array)) > 10, part.name


@pytest.mark.parametrize("kernel", ["layernorm", "matmul", "attention_layernorm"])
def test_constants_depend_on_the_seed_alone(kernel: str) -> None:
    def constants(tiles: Tiles) -> list[list[int]]:
        return [
            parts_of(tiles)[part.name][0].ravel().tolist()
            for part in tiles.spec.parts
            if part.constant
        ]

    known = constants(tiles_of(kernel, "speech"))
    assert constants(tiles_of(kernel, "random")) == known
    assert constants(tiles_of(kernel, "speech", tiles=3)) == known
    assert constants(tiles_of(kernel, "speech", seed=1)) != known


@pytest.mark.parametrize(
    ("fused", "alone"), [("attention_layernorm", "layernorm"), ("matmul_gelu", "matmul")]
)
def test_a_fused_kernel_has_the_constants_of_its_part(fused: str, alone: str) -> None:
    both = parts_of(tiles_of(fused, "speech")), parts_of(tiles_of(alone, "speech"))
    for part in load_kernel(alone).parts:
        if part.constant:
            np.testing.assert_array_equal(both[0][part.name], both[1][part.name])


CONFIGURATION = {"verify": "all", "device": {"clock": "virtual"}, "measure": {"warmup": 1}}


def run(*overrides: str) -> Outcome:
    return Experiment(load("workload.tiles=5", *overrides)).run()


def test_the_rtf_is_of_what_its_accounting_counts() -> None:
    for kernel in native.NAMES:
        record = record_of(run(f"workload={kernel}"), CONFIGURATION, "", [])
        assert record.verdict is Verdict.OK
        assert record.metrics["verify/tiles"] == 35
        figures = [record.metrics[f"rtf/{name}"] for name in ("end_to_end", "encoder", "ceiling")]
        if kernel == "attention":
            assert None not in figures
            assert footnotes([record])[0].startswith("RTF (guide accounting): 11 s of audio / ")
        else:
            assert figures == [None] * 3
            assert footnotes([record]) == [f"RTF (guide accounting): counts no tiles of {kernel}"]


TOY = """
import numpy as np
from harness.kernel import Buffer, Direction, KernelSpec, Part

def spec(name, side):
    return KernelSpec(
        name=name,
        arguments=(
            Buffer("values", (Part("x", (side, 8)),)),
            Buffer("weights", (Part("w", (8,), constant=True), Part("y", (3,)))),
            Buffer("out", (Part("out", (side, 8)),), Direction.OUT),
        ),
        reference=lambda x, w, y: x * w[:, None] + y[:, :1, None],
        ops=2 * side * 8,
    )

SPEC, VARIANTS = spec("toy", 4), (spec("toy_9", 9),)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel of one's own: a folder."""
    folder = tmp_path / "kernels" / "toy"
    folder.mkdir(parents=True)
    (folder / "spec.py").write_text(TOY)
    monkeypatch.chdir(tmp_path)
    return folder / "spec.py"


@pytest.mark.parametrize("kernel", ["toy", "toy_9"])
@pytest.mark.parametrize("strategy", ["baseline", "stacked"])
@pytest.mark.parametrize("source", SOURCES)
def test_a_new_kernel_is_a_folder(toy: Path, kernel: str, strategy: str, source: str) -> None:
    overrides = f"workload.kernel={kernel}", f"strategy={strategy}", f"workload.source={source}"
    outcome = run(*overrides, f"+device.exec_ns.{kernel}=1000")
    assert (outcome.verdict, outcome.reason) == (Verdict.OK, "")


def test_a_kernel_of_constants_has_no_tiles(toy: Path) -> None:
    text = TOY.replace('Part("x", (side, 8))', 'Part("x", (side, 8), constant=True)')
    toy.write_text(text.replace('Part("y", (3,))', 'Part("y", (3,), constant=True)'))
    with pytest.raises(
        RequestError, match="kernel toy: all its inputs are constant; tiles need one that differs"
    ):
        tiles_of("toy", "random", 3)
