"""Vary each unmeasured number of the simulator to see which conclusions depend on it."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from collections.abc import Sequence

from harness.commands.hydra_argv import check_config_dir
from harness.commands.parser import Parser, presentation_of
from harness.commands.terminal import say, show
from harness.config.compose import load
from harness.config.device import ClockKind, Simulator
from harness.config.disturbance import Faults
from harness.config.schema import Config
from harness.config.workload import Accounting
from harness.errors import RequestError
from harness.execution.predict import NotModelledError
from harness.kernel.folders import looking_in
from harness.report.progress import PassBar
from harness.report.tables import NOTHING, Cell, Part, Sheet, left, number, right
from harness.study.draws import DRAWS, Ranks, rank_draws
from harness.study.profile_numbers import CHANGES, Number, numbers_of
from harness.study.sensitivity import SAME_PCT, Point, Study, study
from harness.units import ns_to_ms

HELP = "vary the simulator's assumed numbers to see which results change"
MOST_DRAWS = 1_000_000
STRATEGIES = "baseline,pooled,pipelined,batch,stacked"


def _parser() -> Parser:
    parser = Parser(
        "sensitivity",
        description="Report which conclusions about strategies change if an assumed number of the "
        "simulated device is wrong.",
        tables=True,
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="vary every number that has a source, not only assumed ones",
    )
    parser.add_argument(
        "--strategies", default=STRATEGIES, help="strategies to compare (%(default)s)"
    )
    parser.add_argument(
        "--draws",
        type=_draws,
        default=DRAWS,
        metavar="N",
        help="profiles with all numbers drawn at once (%(default)s); 0 draws none",
    )
    parser.add_argument(
        "overrides", nargs="*", help="overrides, as a run takes them: workload.tiles=40 ..."
    )
    parser.add_config_dir()
    return parser


def _draws(text: str) -> int:
    """A number of draws; RequestError for anything else."""
    if not text.isdecimal() or int(text) > MOST_DRAWS:
        raise RequestError(f"--draws={text}: give a number from 0 to {MOST_DRAWS}")
    return int(text)


def _configs(strategies: str, overrides: Sequence[str], quiet: bool) -> dict[str, Config]:
    """The request once for each strategy; RequestError where it cannot be varied."""
    # A name twice, or an empty one after a comma, would be compared with itself.
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
    # After the user's overrides, of which `strategy=` is refused above.
    configs = {name: load(*overrides, f"strategy={name}") for name in names}
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
    # Only presets with ${depth} take it.
    ignored = all(each.strategy.depth != each.depth for each in configs.values())
    if "depth" in keys and ignored and not quiet:
        say(f"{keys['depth']} has no effect: none of {strategies} takes it")
    return configs


def report(results: Study, config: Config, everything: bool) -> list[Part]:
    """The parts to print, from top to bottom."""
    varied = [each for each in results.numbers if each.changed_values]
    moving = [each for each in varied if not results.has_no_effect(each)]
    tiles, kind = config.workload.tiles, "" if everything else "assumed "
    parts: list[Part] = [
        f"{'+'.join(config.workload.kernels)}, {tiles} tiles; "
        f"{len(varied)} {kind}numbers of the profile, each alone at {' and '.join(CHANGES)} "
        "(two wrong at once may change more)",
        overview(results, tiles),
    ]
    parts.append(_verdict(results) if varied else f"the profile has no {kind}number to vary")
    if moving:
        parts.append(_changes(results, moving, f"{kind}number"))
    remarks = {
        "without an effect on these results": [each for each in varied if each not in moving],
        "0, so not varied": [each for each in results.numbers if not each.changed_values],
        "no source, so taken as assumed": [each for each in results.numbers if not each.source],
    }
    for remark, numbers in remarks.items():
        if numbers:
            parts.append(f"{remark}: {', '.join(each.key for each in numbers)}")
    return parts


def ranks(found: Ranks, kind: str) -> list[Part]:
    """The parts about all numbers drawn at once."""
    sheet = Sheet(
        "ranks",
        right("rank"),
        left("strategy"),
        right("holds in"),
        right("ranks", "range of ranks"),
        right(f"over {SAME_PCT} % ahead", "clearly ahead"),
        left("decided by"),
        right("correlation"),
    )
    for place in found.places:
        sheet.add(
            number(place.rank, "{}"),
            place.strategy,
            number(place.holds, "{:.1%}"),
            f"{place.best} .. {place.worst}",
            number(place.clear, "{:.1%}"),
            Cell(place.decides or NOTHING, place.decides or None),
            number(place.correlation if place.decides else None, "{:+.2f}"),
        )
    failed = f"; in {found.failed:,} more, a strategy fails" if found.failed else ""
    return [
        f"all {kind}numbers at once ({len(found.numbers)}), each drawn evenly between "
        f"{' and '.join(CHANGES)}: the whole order holds in {found.holds:.1%} of "
        f"{found.draws:,} draws{failed}",
        sheet,
    ]


def overview(results: Study, tiles: int) -> Sheet:
    """A row per strategy, fastest first."""
    sheet = Sheet(
        "strategies",
        left("strategy"),
        right("ms/tile"),
        right("range", "ms/tile range"),
        right("speed-up"),
        right("range", "speed-up range"),
        right("bound by"),
        right("depth + 1"),
        left("always faster than"),
    )
    for name, strategy in results.strategies.items():
        times, gains = _times(results, name, tiles)
        point, deeper = results.base.points[name], results.base.deeper[name]
        assert isinstance(point, Point)  # `study` raises where a strategy fails on the profile
        gain = f"{point.longer_pct(deeper):+.1f}%" if isinstance(deeper, Point) else "fails"
        sheet.add(
            name,
            number(times[0], "{:.3f}"),
            f"{min(times):.3f} .. {max(times):.3f}",
            number(gains[0], "{:.2f}x"),
            f"{min(gains):.2f} .. {max(gains):.2f}",
            point.binding,
            f"d{strategy.depth + 1} {gain}",
            _always_slower(results, name),
        )
    return sheet


def _times(results: Study, name: str, tiles: int) -> tuple[list[float], list[float]]:
    """ms per tile and speed-ups of a strategy: on the profile, then on each variation of it."""
    times, gains = [], []
    for case in (results.base, *results.variations.values()):
        own, serial = case.points[name], case.serial
        if isinstance(own, Point) and isinstance(serial, Point):
            times.append(ns_to_ms(own.total_ns / tiles))
            gains.append(1 + serial.longer_pct(own) / 100)
    return times, gains


def _always_slower(results: Study, name: str) -> str:
    """The strategies that are slower in every variation, and in brackets those always the same."""
    surviving = set(results.surviving().values())
    slower = [each for each in results.strategies if f"{name} faster than {each}" in surviving]
    same = [
        f"(= {each})"
        for each in results.strategies
        if {f"{name} and {each} the same", f"{each} and {name} the same"} & surviving
    ]
    return " ".join([", ".join(slower), *same]).strip() or NOTHING


def _verdict(results: Study) -> str:
    """How many conclusions of each kind survive."""
    every, surviving = (
        Counter(key[0] for key in texts)
        for texts in (results.conclusions(results.base), results.surviving())
    )
    compared, bound, depth = (
        f"{surviving[kind]} of {every[kind]}" for kind in ("comparison", "bound", "depth")
    )
    ranking = "the ranking (order of the rows)"
    held = [
        f"{compared} comparisons (times within {SAME_PCT} % count as the same)",
        f"{bound} bounds",
        f"{depth} effects of depth + 1",
    ]
    if surviving["ranking"]:
        text = ", ".join([ranking, *held])
    else:
        text = f"{', '.join(held)}, but not {ranking}"
    return f"what holds in all {len(results.runnable())} variations: {text}"


def _changes(results: Study, numbers: list[Number], heading: str) -> Sheet:
    """A row per number that any result depends on."""
    columns = [left(heading, "number"), right("value")]
    columns += [right(f"ms/tile at {change}") for change in CHANGES]
    sheet = Sheet("numbers", *columns, left("conclusions that change"))
    for each in numbers:
        times_pct = results.time_changes_pct(each)
        lines = [
            f"{', '.join(changes)}: {text}"
            for text, changes in results.changed_conclusions(each).items()
        ]
        sheet.add(
            each.key,
            number(each.value, "{:,}"),
            *(_percent(times_pct.get(change)) for change in CHANGES),
            Cell("\n".join(lines) or "none", lines),
        )
    return sheet


def _percent(percent: float | None) -> Cell:
    # It would print as -0.0% or +0.0%, which looks like no effect.
    if percent is not None and abs(percent) < 0.05:
        return Cell("<0.1%", percent)
    return number(percent, "{:+.1f}%")


def main(arguments: Sequence[str]) -> int:
    """Run the variations and print the report."""
    options = _parser().parse_intermixed_args(arguments)
    check_config_dir(options.config_dir)
    with looking_in(options.config_dir):
        return _vary(options)


def _vary(options: Namespace) -> int:
    presentation = presentation_of(options)
    configs = _configs(options.strategies, options.overrides, presentation.quiet)
    config = next(iter(configs.values()))
    assert isinstance(config.device, Simulator)  # _configs refuses others
    passes = len(numbers_of(config.device, config.workload.kernels, options.all))
    bar = PassBar("varying", passes, hidden=presentation.quiet)
    try:
        results = study(configs, options.all, bar)
    finally:
        bar.close()
    parts = report(results, config, options.all)
    if options.draws and any(not results.has_no_effect(each) for each in results.numbers):
        parts += _drawn(configs, results, options.draws, "" if options.all else "assumed ")
    show(parts, "report", presentation)
    return 0


def _drawn(configs: dict[str, Config], results: Study, draws: int, kind: str) -> list[Part]:
    """The parts about all numbers drawn at once, or why there are none."""
    try:
        found = rank_draws(configs, results.numbers, draws)
    except NotModelledError as error:
        return [f"not drawn all at once: {error}"]
    return ranks(found, kind) if found else []
