"""Vary each unmeasured number of the simulator to see which conclusions depend on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from harness.commands.parser import Parser, composed
from harness.commands.terminal import say, show
from harness.config.device import ClockKind, Faults, Simulator
from harness.config.schema import Config
from harness.config.workload import Accounting
from harness.errors import RequestError
from harness.report.progress import PassBar
from harness.report.tables import plain_table
from harness.study.profile_numbers import SHARES, Number, numbers_of
from harness.study.sensitivity import SAME_PCT, Point, Study, study
from harness.units import ns_to_ms

HELP = "vary each assumed number of the simulator to see which conclusions depend on it"
STRATEGIES = "baseline,pooled,pipelined,batch,stacked"


def _parser() -> Parser:
    parser = Parser(
        "sensitivity",
        description="Which conclusions about strategies survive if an assumed number of the "
        "simulated device is wrong.",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="vary every number that has a source, not only assumed ones",
    )
    parser.add_argument("--strategies", default=STRATEGIES, help="which to compare (%(default)s)")
    parser.add_argument(
        "overrides", nargs="*", help="as of python -m harness: workload.tiles=40 depth=3 ..."
    )
    return parser


def _configs(strategies: str, overrides: Sequence[str]) -> dict[str, Config]:
    """The request once for each strategy; RequestError where it cannot be varied."""
    names = list(dict.fromkeys(filter(None, strategies.split(","))))
    if len(names) < 2:
        raise RequestError(
            f"--strategies={strategies}: nothing to compare; give two or more, as in {STRATEGIES}"
        )
    keys = {text.lstrip("+~").partition("=")[0]: text for text in overrides}
    if "strategy" in keys:
        raise RequestError(
            f"{keys['strategy']}: several are compared; name them with --strategies {STRATEGIES}"
        )
    configs = {name: composed(*overrides, f"strategy={name}") for name in names}
    config = configs[names[0]]
    if not isinstance(config.device, Simulator):
        raise RequestError(
            f"device={config.device.kind}: has no assumed numbers to vary; use device=simulator"
        )
    if config.device.clock is ClockKind.wall:
        raise RequestError(
            "device.clock=wall: numbers are varied in virtual time; use device.clock=virtual"
        )
    if config.device.noise.enabled or config.device.faults != Faults():
        raise RequestError(
            "device.noise, device.faults: would change conclusions by themselves; leave them off"
        )
    if config.workload.accounting is Accounting.full:
        raise RequestError(
            "workload.accounting=full: strategies are compared by the spans of a pass, which are "
            "not kept of a whole window; use workload.accounting=guide or a kernel's own workload"
        )
    if "depth" in keys and all(each.strategy.depth != each.depth for each in configs.values()):
        say(f"{keys['depth']} has no effect: none of {strategies} takes it")
    return configs


def report(found: Study, config: Config, everything: bool) -> list[Table | str]:
    """What is printed, from top to bottom."""
    varied = [number for number in found.numbers if number.variants]
    moving = [number for number in varied if not found.inert(number)]
    tiles, kind = config.workload.tiles, "" if everything else "assumed "
    parts: list[Table | str] = [
        f"{'+'.join(config.workload.kernels)}, {tiles} tiles; "
        f"{len(varied)} {kind}numbers of the profile, each alone at {' and '.join(SHARES)} "
        "(two wrong at once may change more)",
        overview(found, tiles),
    ]
    parts.append(_verdict(found) if varied else f"there is no {kind}number in the profile to vary")
    if moving:
        parts.append(_changes(found, moving, f"{kind}number"))
    for said, numbers in (
        ("no effect on any of this", [number for number in varied if number not in moving]),
        ("0, so not varied", [number for number in found.numbers if not number.variants]),
        (
            "no source, so taken as assumed",
            [number for number in found.numbers if not number.source],
        ),
    ):
        if numbers:
            parts.append(f"{said}: {', '.join(number.key for number in numbers)}")
    return parts


def overview(found: Study, tiles: int) -> Table:
    """A row per strategy, fastest first."""
    table = plain_table("strategy")
    for heading in ("ms/tile", "range", "speed-up", "range", "bound by", "one deeper"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("always faster than", no_wrap=True)
    cases, surviving = [found.base, *found.varied.values()], set(found.surviving().values())
    for name, strategy in found.strategies.items():
        known = [(case.points[name], case.serial) for case in cases]
        both = [
            (own, serial)
            for own, serial in known
            if isinstance(own, Point) and isinstance(serial, Point)
        ]
        times = [ns_to_ms(own.total_ns / tiles) for own, _ in both]
        gains = [1 + serial.longer_pct(own) / 100 for own, serial in both]
        point, deeper = found.base.points[name], found.base.deeper[name]
        assert isinstance(point, Point)  # else there were no study
        gain = f"{point.longer_pct(deeper):+.1f}%" if isinstance(deeper, Point) else "fails"
        slower = [other for other in found.strategies if f"{name} faster than {other}" in surviving]
        same = [
            f"(= {other})"
            for other in found.strategies
            if {f"{name} and {other} the same", f"{other} and {name} the same"} & surviving
        ]
        cells = [f"{times[0]:.3f}", f"{min(times):.3f} .. {max(times):.3f}"]
        cells += [f"{gains[0]:.2f}x", f"{min(gains):.2f} .. {max(gains):.2f}"]
        table.add_row(
            name,
            *cells,
            point.binding,
            f"d{strategy.depth + 1} {gain}",
            " ".join([", ".join(slower), *same]).strip() or "-",
        )
    return table


def _verdict(found: Study) -> str:
    """How many conclusions of each kind survive."""
    every, kept = (
        Counter(key[0] for key in texts)
        for texts in (found.conclusions(found.base), found.surviving())
    )
    ranking = (
        "the ranking (order of the rows)"
        if kept["ranking"]
        else "not the ranking (order of the rows)"
    )
    compared, bound, depth = (
        f"{kept[kind]} of {every[kind]}" for kind in ("comparison", "bound", "depth")
    )
    same = f"within {SAME_PCT} % is the same"
    return (
        f"survive all {len(found.runnable())} variations: {ranking}, "
        f"{compared} comparisons ({same}), {bound} bounds, {depth} gains of one deeper"
    )


def _changes(found: Study, numbers: list[Number], heading: str) -> Table:
    """A row per number that anything depends on."""
    table = plain_table(heading)
    for each in ("value", *(f"ms/tile at {share}" for share in SHARES)):
        table.add_column(each, justify="right", no_wrap=True)
    table.add_column("conclusions that change", no_wrap=True)
    for number in numbers:
        moves = found.moves(number)
        lines = [f"{', '.join(shares)}: {text}" for text, shares in found.changes(number).items()]
        cells = [_move(moves.get(share)) for share in SHARES]
        table.add_row(number.key, f"{number.value:,}", *cells, Text("\n".join(lines) or "none"))
    return table


def _move(percent: float | None) -> str:
    if percent is None:
        return "-"
    return f"{percent:+.1f}%" if abs(percent) >= 0.05 else "<0.1%"


def main(arguments: Sequence[str]) -> int:
    """Run the variations and print the report."""
    asked = _parser().parse_intermixed_args(arguments)
    configs = _configs(asked.strategies, asked.overrides)
    config = next(iter(configs.values()))
    assert isinstance(config.device, Simulator)  # _configs refuses others
    bar = PassBar("varying", len(numbers_of(config.device, config.workload.kernels, asked.all)))
    try:
        found = study(configs, asked.all, bar)
    finally:
        bar.close()
    show(report(found, config, asked.all), "report")
    return 0
