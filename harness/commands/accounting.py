"""Count the kernel calls that encode a window of audio, by either accounting."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from harness.commands.parser import Parser
from harness.commands.terminal import output, show
from harness.inputs.generate import TILE_FRAMES
from harness.measure.audio_accounting import GUIDE_ENCODER, GUIDE_KERNEL, encoder_tiles
from harness.models.operations import Operation, operations
from harness.models.tiling import ROLES, Tiling, Unit, load_tiling
from harness.models.whisper import ENCODERS, Encoder, encoder_of
from harness.report.tables import plain_table
from harness.units import BYTES_PER_MIB

HELP = "count the kernel calls that a Whisper encoder takes"
HOST = "host"
NOTHING = "-"


def _parser() -> Parser:
    parser = Parser(
        "accounting",
        description="Kernel calls, work, padding and bytes of a Whisper encoder per window.",
    )
    parser.add_argument(
        "model", nargs="?", default=GUIDE_ENCODER, help=f"{', '.join(ENCODERS)} (%(default)s)"
    )
    parser.add_argument(
        "--matmul", metavar="KERNEL", default="matmul", help="of the linear layers (%(default)s)"
    )
    parser.add_argument(
        "--attention", metavar="KERNEL", default="attention", help="of the attention (%(default)s)"
    )
    parser.add_argument(
        "--json", action="store_true", help="everything as one JSON object, nothing rounded"
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
    found = operations(encoder, tiling)
    full = {kernel: sum(each.calls for each in found if each.kernel == kernel) for kernel in guide}
    return {"guide": guide, "full": {**full}}


def _total(name: str, found: Iterable[Operation]) -> dict[str, Any]:
    """Sums over operations; work and padding of multiply-accumulates, if there are any."""
    found = list(found)
    unit = Unit.mac if any(each.unit is Unit.mac for each in found) else Unit.value
    counted = [each for each in found if each.unit is unit]
    return {
        "name": name,
        "calls": sum(each.calls for each in found),
        "unit": unit.value,
        "work": sum(each.work for each in counted),
        "tile_work": sum(each.tile_work for each in counted),
        "bytes_moved": sum(each.bytes_moved for each in found),
        "additions": sum(each.additions for each in found),
    }


def totals(found: Sequence[Operation]) -> list[dict[str, Any]]:
    """Of each kernel, the host, and all."""
    kernels = dict.fromkeys(each.kernel for each in found if each.kernel)
    parts = [
        _total(kernel, (each for each in found if each.kernel == kernel)) for kernel in kernels
    ]
    return [*parts, _total(HOST, (each for each in found if not each.kernel)), _total("all", found)]


def report(encoder: Encoder, tiling: Tiling) -> list[Table | str]:
    """What is printed, from top to bottom."""
    found = operations(encoder, tiling)
    parts: list[Table | str] = [
        f"{encoder.name}, full accounting of a window of {encoder.audio_s:g} s: "
        f"{encoder.layers} layers, {encoder.heads} heads of {encoder.head_width}, "
        f"ffn {encoder.ffn}, {encoder.frames} frames",
        by_operation(found),
        by_kernel(found, tiling),
        by_accounting(encoder, tiling),
    ]
    inexact = list(_notes(found))
    return (
        [*parts, "these calls do the encoder's work, but do not give its result:", *inexact]
        if inexact
        else parts
    )


def by_operation(found: Sequence[Operation]) -> Table:
    """A row per operation, layers taken together."""
    table = plain_table("operation")
    table.add_column("kernel", no_wrap=True)
    _columns(table, "calls/layer", "calls/window")
    macs = _total("all", found)["work"]
    for name in dict.fromkeys(each.name for each in found):
        same = [each for each in found if each.name == name]
        kernel, per_layer = (
            same[0].kernel or HOST,
            NOTHING if same[0].layer is None else f"{same[0].calls:,}",
        )
        table.add_row(name, kernel, per_layer, *_cells(_total(name, same), macs))
    return table


def by_kernel(found: Sequence[Operation], tiling: Tiling) -> Table:
    """A row per kernel, and their sum, whose padding is that of multiply-accumulates."""
    table = plain_table("kernel")
    table.add_column("tile", no_wrap=True)
    _columns(table, "calls/window")
    tiles = {
        tiling.spec(role).name: "x".join(map(str, tiling.tile(role).values())) for role in ROLES
    }
    sums = totals(found)
    for each in sums:
        table.add_row(
            each["name"], tiles.get(each["name"], NOTHING), *_cells(each, sums[-1]["work"])
        )
    return table


def by_accounting(encoder: Encoder, tiling: Tiling) -> Table:
    """A row per accounting: they count different things, and nothing is made of both."""
    table, counted = plain_table("accounting"), accountings(encoder, tiling)
    for kernel in counted["full"]:
        table.add_column(kernel, justify="right", no_wrap=True)
    table.add_column("what it counts per window", no_wrap=True)
    guide = (
        f"{encoder.layers} blocks x {encoder.frames} frames / {TILE_FRAMES} frames a tile, "
        "nothing else"
    )
    if not any(counted["guide"].values()):
        guide = f"nothing of this: it is of {GUIDE_ENCODER}, and of tiles of {GUIDE_KERNEL}"
    said = {"guide": guide, "full": "every call above"}
    for name, calls in counted.items():
        table.add_row(
            name, *(NOTHING if each is None else f"{each:,}" for each in calls.values()), said[name]
        )
    return table


def _columns(table: Table, *counts: str) -> None:
    for heading in (*counts, "GMAC", "share", "padding", "MiB moved", "host Madd"):
        table.add_column(heading, justify="right", no_wrap=True)


def _cells(total: dict[str, Any], macs: int) -> list[str]:
    """calls/window and what follows it; a share is of multiply-accumulates."""
    work, is_mac = total["work"], total["unit"] == Unit.mac.value
    return [
        f"{total['calls']:,}",
        f"{work / 1e9:.3f}" if is_mac else NOTHING,
        f"{100 * work / macs:.1f}%" if is_mac else NOTHING,
        f"{100 * (total['tile_work'] / work - 1):.1f}%" if total["calls"] else NOTHING,
        f"{total['bytes_moved'] / BYTES_PER_MIB:,.1f}",
        f"{total['additions'] / 1e6:,.1f}",
    ]


def _notes(found: Sequence[Operation]) -> Iterable[str]:
    """A line per kernel and reason, with the sizes it applies to."""
    sizes: dict[tuple[str, str], dict[str, None]] = {}
    for each in found:
        for note in each.notes:
            size, _, reason = note.partition(": ")
            sizes.setdefault((each.kernel or HOST, reason), {})[size] = None
    return (f"{kernel}, {', '.join(each)}: {reason}" for (kernel, reason), each in sizes.items())


def as_json(encoder: Encoder, tiling: Tiling) -> str:
    """Everything the report says, nothing rounded; work in its unit, sizes in bytes."""
    found = operations(encoder, tiling)
    return json.dumps(
        {
            "encoder": asdict(encoder),
            "tiles": {
                role: {"kernel": tiling.spec(role).name, **tiling.tile(role)} for role in ROLES
            },
            "calls_per_window": accountings(encoder, tiling),
            "full": {
                "operations": [{**asdict(each), "unit": each.unit.value} for each in found],
                "totals": totals(found),
            },
        },
        indent=2,
    )


def main(arguments: Sequence[str]) -> int:
    """Print the report, or all of it as JSON."""
    asked = _parser().parse_args(arguments)
    encoder, tiling = encoder_of(asked.model), load_tiling(asked.matmul, asked.attention)
    if asked.json:
        with output("report"):
            print(as_json(encoder, tiling))
    else:
        show(report(encoder, tiling), "report")
    return 0
