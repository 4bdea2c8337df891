"""The accounting command: what it counts, both accountings apart, and its answers to errors."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.commands import accounting
from harness.commands.main import dispatch
from harness.kernel import load_kernel
from harness.models.tiling import load_tiling
from harness.models.whisper import ENCODERS

BASE = ENCODERS["whisper_base"]


def rows(capsys, *arguments):
    """Lines of the report, blanks squeezed, by their first words."""
    assert dispatch(["accounting", *arguments]) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_the_report_of_base(capsys):
    said = rows(capsys)
    assert "attention attention 4,608 27,648 13.824 31.6% 4.9% 432.0 0.0" in said
    assert "query matmul 96,256 577,536 2.359 5.4% 0.3% 423.0 147.5" in said
    assert "last norm layernorm - 3,000 - - 0.0% 2.9 0.0" in said
    assert "ffn residual host 0 0 - - - 0.0 4.6" in said
    assert "matmul 16x16x16 7,309,440 29.860 68.4% 0.3% 5,353.6 1,861.6" in said
    assert "all - 7,416,588 43.684 100.0% 1.7% 5,863.2 1,871.6" in said
    assert "guide - 140.625 - - 6 blocks x 1500 frames / 64 frames a tile, nothing else" in said
    assert "full 7,309,440 27,648 39,000 40,500 every call above" in said
    (why,) = [line for line in said if line.startswith("matmul (")]
    assert why.startswith(
        "matmul (size 240, 1536, 512, 2048 in tiles of 16): each call rounds and saturates"
    )


def test_the_report_of_tiny_in_larger_tiles(capsys):
    said = rows(capsys, "whisper_tiny", "--matmul=matmul_64")
    assert "matmul_64 64x64x64 45,192 11.557 62.6% 2.5% 529.6 178.6" in said
    assert "layernorm 256 27,000 - - 33.3% 26.4 0.0" in said
    assert "guide - - - - nothing here: it counts whisper_base in tiles of attention only" in said


def test_the_guide_counts_no_tiles_of_another_kernel():
    tiling = load_tiling()
    assert accounting.accountings(BASE, tiling)["guide"]["attention"] == 140.625
    other = replace(tiling, attention=replace(tiling.attention, name="a"))
    assert set(accounting.accountings(BASE, other)["guide"].values()) == {None}


def test_json_has_every_operation_and_whole_numbers(capsys):
    assert dispatch(["accounting", "whisper_base", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["tiles"]["attention"] == {"kernel": "attention", "q": 64, "s": 64, "d": 64}
    assert said["calls_per_window"]["guide"] == {
        "matmul": None,
        "attention": 140.625,
        "layernorm": None,
        "gelu": None,
    }
    full = said["full"]
    assert len(full["operations"]) == 5 + 6 * 12 + 1
    for total in full["totals"][:-2]:
        own = [each for each in full["operations"] if each["kernel"] == total["name"]]
        for key in ("calls", "work", "tile_work", "bytes_moved", "additions"):
            assert total[key] == sum(each[key] for each in own), key
        assert total["calls"] == said["calls_per_window"]["full"][total["name"]]
        assert total["bytes_moved"] == total["calls"] * load_kernel(total["name"]).size_bytes
    assert full["totals"][-1]["work"] == 43_683_840_000
    assert full["totals"][-1]["calls"] == 7_416_588


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["base"],
            "model=base: no such encoder; did you mean whisper_base? "
            "Allowed: whisper_base, whisper_small, whisper_t",
        ),
        (
            ["--matmul=matmul_65"],
            "matmul=matmul_65: no kernel that computes a matrix product; did you mean matmul_64? ",
        ),
        (
            ["--attention", "gelu"],
            "attention=gelu: no kernel that computes attention; allowed: attention",
        ),
        (
            ["--matmull=matmul"],
            "--matmull=matmul: no such flag; did you mean --matmul? Allowed: --attention, --csv, ",
        ),
        (
            ["whisper_base", "more"],
            "more: one argument too many; `python -m harness ",
        ),
    ],
)
def test_wrong_requests_end_with_2_and_a_line(arguments, said, capsys):
    assert dispatch(["accounting", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"harness: {said}")
