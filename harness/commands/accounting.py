"""Count the kernel calls that encode a window of audio, by either accounting."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from harness.commands.parser import Parser, presentation_of
from harness.commands.terminal import output, show
from harness.inputs.speech import TILE_FRAMES
from harness.measure.audio_accounting import GUIDE_ENCODER, GUIDE_KERNEL, encoder_tiles
from harness.models.operations import Operation, operations
from harness.models.tiling import ROLES, Tiling, Unit, load_tiling
from harness.models.whisper import ENCODERS, Encoder, encoder_of
from harness.report.tables import NOTHING, Cell, Column, Part, Sheet, left, number, right
from harness.units import BYTES_PER_MIB

HELP = "count the kernel calls that a Whisper encoder takes"
HOST = "host"


def _parser() -> Parser:
    parser = Parser(
        "accounting",
        description="Count the kernel calls, work, padding and bytes of a Whisper encoder per "
        "window. With --json: every operation, nothing rounded.",
        tables=True,
    )
    parser.add_argument(
        "model", nargs="?", default=GUIDE_ENCODER, help=f"{', '.join(ENCODERS)} (%(default)s)"
    )
    parser.add_argument(
        "--matmul",
        metavar="KERNEL",
        default="matmul",
        help="kernel of the linear layers (%(default)s)",
    )
    parser.add_argument(
        "--attention",
        metavar="KERNEL",
        default="attention",
        help="kernel of the attention (%(default)s)",
    )
    return parser


def accountings(encoder: Encoder, tiling: Tiling) -> dict[str, dict[str, float | None]]:
    """Calls per window of each kernel by `guide` and by `full` accounting.

    None where an accounting does not count a kernel.
    """
    guide: dict[str, float | None] = dict.fromkeys(tiling.spec(role).name for role in ROLES)
    if encoder == ENCODERS[GUIDE_ENCODER]:
        name = tiling.attention.name
        guide[name] = encoder_tiles(name, encoder.audio_s)
    calls = operations(encoder, tiling)
    full = {kernel: sum(each.calls for each in calls if each.kernel == kernel) for kernel in guide}
    return {"guide": guide, "full": {**full}}


def _total(name: str, calls: Iterable[Operation]) -> dict[str, Any]:
    """Sums over operations; work and padding of multiply-accumulates, if there are any."""
    # An iterator would be empty after the first sum.
    calls = list(calls)
    # The two units do not add up; next to multiply-accumulates, values are negligible work.
    unit = Unit.mac if any(each.unit is Unit.mac for each in calls) else Unit.value
    counted = [each for each in calls if each.unit is unit]
    return {
        "name": name,
        "calls": sum(each.calls for each in calls),
        "unit": unit.value,
        "work": sum(each.work for each in counted),
        "tile_work": sum(each.tile_work for each in counted),
        "bytes_moved": sum(each.bytes_moved for each in calls),
        "additions": sum(each.additions for each in calls),
    }


def totals(calls: Sequence[Operation]) -> list[dict[str, Any]]:
    """Totals of each kernel, of the host, and of all."""
    parts = []
    for kernel in dict.fromkeys(each.kernel for each in calls if each.kernel):
        parts.append(_total(kernel, (each for each in calls if each.kernel == kernel)))
    on_host = (each for each in calls if not each.kernel)
    return [*parts, _total(HOST, on_host), _total("all", calls)]


def report(encoder: Encoder, tiling: Tiling) -> list[Part]:
    """The parts to print, from top to bottom."""
    calls = operations(encoder, tiling)
    parts: list[Part] = [
        f"{encoder.name}, full accounting of a window of {encoder.audio_s:g} s: "
        f"{encoder.layers} layers, {encoder.heads} heads of {encoder.head_width}, "
        f"ffn {encoder.ffn}, {encoder.frames} frames",
        by_operation(calls),
        by_kernel(calls, tiling),
        by_accounting(encoder, tiling),
    ]
    inexact = list(_notes(calls))
    if inexact:
        parts += [
            "results that differ from the encoder's, because an operation is split:",
            *inexact,
        ]
    return parts


def by_operation(calls: Sequence[Operation]) -> Sheet:
    """A row per operation, all layers together."""
    columns = left("operation"), left("kernel"), right("calls/layer")
    sheet = Sheet("operations", *columns, *_work_columns())
    macs = _total("all", calls)["work"]
    for name in dict.fromkeys(each.name for each in calls):
        same = [each for each in calls if each.name == name]
        first = same[0]
        per_layer = number(None if first.layer is None else first.calls, "{:,}")
        sheet.add(name, first.kernel or HOST, per_layer, *_cells(_total(name, same), macs))
    return sheet


def by_kernel(calls: Sequence[Operation], tiling: Tiling) -> Sheet:
    """A row per kernel and one for all, whose padding is that of multiply-accumulates."""
    sheet = Sheet("kernels", left("kernel"), left("tile"), *_work_columns())
    tiles = {
        tiling.spec(role).name: "x".join(map(str, tiling.tile(role).values())) for role in ROLES
    }
    sums = totals(calls)
    for each in sums:
        tile = tiles.get(each["name"])
        sheet.add(each["name"], Cell(tile or NOTHING, tile), *_cells(each, sums[-1]["work"]))
    return sheet


def by_accounting(encoder: Encoder, tiling: Tiling) -> Sheet:
    """A row per accounting: the two count different things, so no figure combines them."""
    counts = accountings(encoder, tiling)
    kernels = (right(kernel) for kernel in counts["full"])
    sheet = Sheet("accountings", left("accounting"), *kernels, left("what it counts per window"))
    guide = (
        f"{encoder.layers} blocks x {encoder.frames} frames / {TILE_FRAMES} frames a tile, "
        "nothing else"
    )
    if not any(counts["guide"].values()):
        guide = f"nothing here: it counts {GUIDE_ENCODER} in tiles of {GUIDE_KERNEL} only"
    meanings = {"guide": guide, "full": "every call above"}
    for name, calls in counts.items():
        sheet.add(name, *(number(each, "{:,}") for each in calls.values()), meanings[name])
    return sheet


def _work_columns() -> list[Column]:
    headings = "calls/window", "GMAC", "share", "padding", "MiB moved", "host Madd"
    return [right(heading) for heading in headings]


def _cells(total: dict[str, Any], macs: int) -> list[Cell]:
    """calls/window and the columns after it; a share is one of all multiply-accumulates."""
    work, is_mac = total["work"], total["unit"] == Unit.mac.value
    return [
        number(total["calls"], "{:,}"),
        number(work / 1e9 if is_mac else None, "{:.3f}"),
        number(work / macs if is_mac else None, "{:.1%}"),
        number(total["tile_work"] / work - 1 if total["calls"] else None, "{:.1%}"),
        number(total["bytes_moved"] / BYTES_PER_MIB, "{:,.1f}"),
        number(total["additions"] / 1e6, "{:,.1f}"),
    ]


def _notes(calls: Sequence[Operation]) -> Iterable[str]:
    """A line per kernel and reason, with the sizes that are split."""
    sizes: dict[tuple[str, str, str], dict[str, None]] = {}
    for each in calls:
        for note in each.notes:
            # `models.operations` writes them as "1500 in 24 of 64: reason".
            split, _, reason = note.partition(": ")
            size, tile = split.partition(" in ")[0], split.rpartition(" of ")[2]
            sizes.setdefault((each.kernel or HOST, reason, tile), {})[size] = None
    for (kernel, reason, tile), each_size in sizes.items():
        yield f"{kernel} (size {', '.join(each_size)} in tiles of {tile}): {reason}"


def as_json(encoder: Encoder, tiling: Tiling) -> str:
    """All figures of the report, not rounded; work in its unit, sizes in bytes."""
    calls = operations(encoder, tiling)
    return json.dumps(
        {
            "encoder": asdict(encoder),
            "tiles": {
                role: {"kernel": tiling.spec(role).name, **tiling.tile(role)} for role in ROLES
            },
            "calls_per_window": accountings(encoder, tiling),
            "full": {
                "operations": [{**asdict(each), "unit": each.unit.value} for each in calls],
                "totals": totals(calls),
            },
        },
        indent=2,
    )


def main(arguments: Sequence[str]) -> int:
    """Print the report, or all of it as JSON."""
    options = _parser().parse_args(arguments)
    presentation = presentation_of(options)
    encoder, tiling = encoder_of(options.model), load_tiling(options.matmul, options.attention)
    if presentation.form == "json":
        with output("report"):
            print(as_json(encoder, tiling))
    else:
        show(report(encoder, tiling), "report", presentation)
    return 0
