"""What rests on assumed numbers: only conclusions that change are named, with the number."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.process import LIMIT_S, ROOT

from harness.commands.main import dispatch
from harness.config import compose as config
from harness.config.device import Simulator
from harness.config.schema import Verify
from harness.execution.experiment import Experiment
from harness.execution.outcome import Verdict
from harness.study.draws import draw, drawable, rank_draws
from harness.study.profile_numbers import Number, numbers_of, with_number
from harness.study.sensitivity import Point, study

pytestmark = pytest.mark.slow

SOURCES: dict[str, str] = yaml.safe_load((ROOT / "conf/device/simulator.yaml").read_text())[
    "sources"
]
SHIPPED = {
    key: text
    for key, text in SOURCES.items()
    if key == "exec_ns.attention" or not key.startswith("exec_ns.")
}
"""Of what attention's tiles cost."""
FREE = (
    "device_open",
    "context_open",
    "cold_start",
    "alloc",
    "write_fixed",
    "read_fixed",
    "launch",
    "completion",
)
HAND = (
    *(f"device.{name}_ns=0" for name in FREE),
    *(f"device.sources.{key}=measured" for key in SHIPPED),
    "device.sync_ns_per_mib=0",
    "device.exec_ns.attention=1_000_000",
    "workload.tiles=4",
)
"""Executions of 1 ms and nothing else, all measured; a test adds costs and says what is assumed."""
CHAINS = (
    *HAND,
    "--strategies=pooled,batch",
    "device.launch_ns=100_000",
    "device.sources.chain_command_ns=assumed",
    "device.sources.exec_ns.attention=assumed",
)
"""4 tiles take 4 x (0.1 + 1) ms pooled, and 0.1 + 4 x 1 + 3 x chain command ms as a batch.

The two are level at 0.1 ms a command.
"""
OVERRIDES_OF_ENTRY = "device.sources.exec_ns.attention="


Ask = Callable[..., "Said"]


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    def line(self, pattern: str) -> str:
        """The one line of the report that begins with `pattern`, blanks squeezed."""
        found = [line for line in self.out.splitlines() if re.match(pattern, line)]
        assert len(found) == 1, self.out
        return " ".join(found[0].split())

    def changes(self) -> dict[str, list[str]]:
        """Conclusions that change, by number."""
        found: dict[str, list[str]] = {}
        _, _, table = self.out.partition("conclusions that change")
        for line in table.splitlines()[1:]:
            if re.match(r"[a-z_.]+ +[\d,.]+ ", line):
                found[line.split()[0]] = []
            elif not line.startswith(" "):
                break
            if change := re.search(r"[+-]50 %.*: .*", line):
                found[list(found)[-1]].append(change[0].strip())
        return found


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str]) -> Ask:
    def ask(*arguments: str) -> Said:
        """The command in this process. A dotted key is given in the form of Hydra's grammar."""
        entry = [text for text in arguments if text.startswith(OVERRIDES_OF_ENTRY)]
        others = [text for text in arguments if text not in entry]
        if entry:
            others.append(f"+device.sources={{exec_ns.attention: {entry[-1].partition('=')[2]}}}")
        if not any(text.startswith("--draws") for text in others):
            others.append("--draws=0")  # the pages show the default
        code = dispatch(["sensitivity", *others])
        return Said(code, *capfd.readouterr())

    return ask


def timed_ns(*overrides: str, **knobs: Any) -> int:
    """Nanoseconds of the median pass, as the harness itself runs and verifies it."""
    asked = config.load("workload.tiles=10", *overrides)
    asked = replace(asked, strategy=replace(asked.strategy, **knobs))
    outcome = Experiment(asked).run()
    assert outcome.verdict is Verdict.OK
    return sorted(outcome.pass_times_ns)[2]


def test_a_number_that_decides_when_it_is_larger(ask: Ask) -> None:
    """Batch 4.334 ms against 4.400; with the command at 117 us, 4.451."""
    said = ask(*CHAINS, "device.chain_command_ns=78_000")
    assert said.changes() == {
        "chain_command_ns": [
            "+50 %: ranking pooled, batch",
            "+50 %: pooled faster than batch, reversed",
        ],
        "exec_ns.attention": [],
    }
    assert said.line("batch") == "batch 1.083 0.584 .. 1.583 1.02x 0.99 .. 1.04 device d2 +0.0% -"
    assert said.line("pooled") == "pooled 1.100 0.600 .. 1.600 1.00x 1.00 .. 1.00 device d2 +7.3% -"
    assert said.line("what holds").startswith("what holds in all 4 variations: 0 of 1 comparisons")
    assert said.line("what holds").endswith(", but not the ranking (order of the rows)")
    assert said.line("chain_command_ns").startswith("chain_command_ns 78,000 -2.7% +2.7% ")


def test_a_number_that_decides_when_it_is_smaller(ask: Ask) -> None:
    """Batch 4.490 ms against 4.400; with the command at 65 us, 4.295."""
    said = ask(*CHAINS, "device.chain_command_ns=130_000")
    assert said.changes() == {
        "chain_command_ns": [
            "-50 %: ranking batch, pooled",
            "-50 %: batch faster than pooled, reversed",
        ],
        "exec_ns.attention": [],
    }


def test_up_to_one_percent_is_the_same(ask: Ask) -> None:
    """Batch takes 4.300 ms, 2.3 % less than 4.400; a command of 100 us makes them level."""
    said = ask(*CHAINS, "device.chain_command_ns=66_666")
    assert said.changes()["chain_command_ns"] == ["+50 %: batch no longer faster than pooled"]
    said = ask(*CHAINS, "device.chain_command_ns=100_000")
    assert "-50 %: batch faster than pooled" in said.changes()["chain_command_ns"]
    assert "+50 %: pooled faster than batch" in said.changes()["chain_command_ns"]


def test_conclusions_that_survive_are_reported(ask: Ask) -> None:
    """The command at 30 us at the most: a batch is ahead whatever else is wrong."""
    said = ask(*CHAINS, "device.chain_command_ns=20_000")
    assert said.changes() == {"chain_command_ns": [], "exec_ns.attention": []}
    assert said.line("batch").endswith(" pooled")
    assert said.line("chain_command_ns").endswith(" none")
    assert said.line("what holds") == (
        "what holds in all 4 variations: the ranking (order of the rows), "
        "1 of 1 comparisons (times within 1 % count as the same), "
        "2 of 2 bounds, 2 of 2 effects of depth + 1"
    )


def test_the_side_that_binds_can_change(ask: Ask) -> None:
    """0.9 ms of launching against 1 ms of execution: 1.35 ms of it is the host's turn."""
    said = ask(
        *HAND, "--strategies=pipelined,pooled", "device.launch_ns=900_000",
        "device.sources.launch_ns=assumed", "workload.tiles=40",
    )  # fmt: skip
    assert said.changes() == {
        "launch_ns": ["+50 %: pipelined bound by the host", "+50 %: pooled bound by the host"]
    }
    assert "0 of 2 bounds" in said.line("what holds")


def test_whether_depth_pays_can_change(ask: Ask) -> None:
    """A second tile in flight hides a launch: of a tile's 1,010 us, 9.5 do not pay; 14.25 do."""
    said = ask(
        *HAND, "--strategies=pooled,baseline", "device.launch_ns=9_500",
        "device.sources.launch_ns=assumed", "workload.tiles=40",
    )  # fmt: skip
    assert set(said.changes()["launch_ns"]) == {
        "+50 %: pooled: d2 pays",
        "+50 %: baseline: d2 pays",
    }
    assert "0 of 2 effects of depth + 1" in said.line("what holds")


def test_a_number_without_effect_is_reported(ask: Ask) -> None:
    said = ask(*CHAINS, "device.device_open_ns=11_000_000", "device.sources.device_open_ns=assumed")
    assert said.line("without") == "without an effect on these results: device_open_ns"
    assert set(said.changes()) == {"chain_command_ns", "exec_ns.attention"}


def test_a_number_that_is_zero_or_has_no_source_is_named(ask: Ask) -> None:
    said = ask(*CHAINS, "~device.sources.launch_ns", "device.sources.cold_start_ns=assumed")
    assert said.line("0, so") == "0, so not varied: cold_start_ns"
    assert said.line("no source") == "no source, so taken as assumed: launch_ns"
    assert "launch_ns" in said.changes()


def test_nothing_assumed(ask: Ask) -> None:
    said = ask(*HAND, "+device.sources={exec_ns.attention: measured}")
    assert (said.code, said.err) == (0, "")
    assert said.line("the profile has") == "the profile has no assumed number to vary"


def test_every_assumed_number_of_the_shipped_profile_is_named(ask: Ask) -> None:
    said = ask()
    assert (said.code, said.err) == (0, "")
    assumed = {key for key, source in SHIPPED.items() if "assumed" in source}
    assert assumed
    named = set(re.findall(r"[a-z_.]+", said.out)) & set(SHIPPED)
    assert named == assumed
    assert " <0.1% <0.1% " in said.line("sync_ns_per_mib")
    # Half of 0 is 0.
    assert said.line("0, so") == "0, so not varied: switch_ns"
    varied = assumed - {"switch_ns"}
    assert f"; {len(varied)} assumed numbers " in said.out
    assert f"what holds in all {2 * len(varied)} variations" in said.out


@pytest.mark.parametrize(
    ("kernel", "named"), [("attention", ()), ("matmul_64", ("matmul_64",)), ("layernorm", ())]
)
def test_what_other_kernels_take_is_left_out(ask: Ask, kernel: str, named: tuple[str, ...]) -> None:
    said = ask(f"workload={kernel}", "--strategies", "pooled,batch")
    assert said.code == 0, said.err
    assert tuple(re.findall(r"exec_ns\.(\w+)", said.out)) == named


def test_all_of_them_can_be_varied(ask: Ask) -> None:
    said = ask("--all", "--strategies", "pooled,batch", "workload.source=random")
    named = set(re.findall(r"[a-z_.0-9]+", said.out))
    # Groups of numbers with one source, and some of their numbers.
    groups = {"clock_mhz", "noise", "core_macs", "gemm_int8", "gemm_bfloat16", "memory"}
    # No numbers.
    groups |= {"timed_waits", "spoils_failed"}
    entries = {f"clock_mhz.{mode}" for mode in ("default", "turbo")} | {"noise.tight_pct"}
    entries |= {"core_macs.int8", "gemm_int8.call_ns", "memory.array_ns_per_mib"}
    assert entries | set(SHIPPED) - groups <= named


def test_a_variation_is_what_the_harness_itself_gives_with_that_number() -> None:
    configs = {name: config.load(f"strategy={name}") for name in ("pooled", "batch", "stacked")}
    found = study(configs, False)
    halved = next(
        case for (number, share), case in found.variations.items() if (number.key, share) == HALVED
    )
    for case, override in ((found.base, ()), (halved, ("device.chain_command_ns=13_850",))):
        for name in configs:
            for points, more in ((case.points, 0), (case.deeper, 1)):
                point, depth = points[name], configs[name].strategy.depth + more
                assert isinstance(point, Point)
                assert point.total_ns == timed_ns(f"strategy={name}", *override, depth=depth)
    assert halved != found.base


HALVED = ("chain_command_ns", "-50 %")


def test_limits_are_varied_as_whole_numbers_from_one_up() -> None:
    assert Number("queue_depth", 1, "x").changed_values == {"+50 %": 2}
    assert Number("queue_depth", 4, "x").changed_values == {"-50 %": 2, "+50 %": 6}
    assert Number("clock_mhz.default", 847, "x").changed_values == {"-50 %": 423, "+50 %": 1271}
    assert Number("alloc_ns", 1, "x").changed_values == {"-50 %": 0, "+50 %": 2}
    assert Number("noise.tight_pct", 3.0, "x").changed_values == {"-50 %": 1.5, "+50 %": 4.5}
    device = Simulator(sources={"queue_depth": "assumed"})
    assert "queue_depth" not in [number.key for number in numbers_of(device, "attention")]
    assert "queue_depth" in [
        number.key for number in numbers_of(device, "attention", everything=True)
    ]


def test_a_variation_that_cannot_run_refutes_nothing(ask: Ask) -> None:
    said = ask("--all", "--strategies", "pooled,batch", "strategy.columns=4")
    (failing,) = said.changes()["columns"]
    assert failing.startswith("-50 %: every strategy fails (strategy.columns=4: out of range")
    assert "(order of the rows), 1 of 1 comparisons" in said.line("what holds")


def test_a_strategy_that_cannot_run_refutes_nothing(ask: Ask) -> None:
    """A batch of executions of 1.5 ms takes more than the 5 ms that are allowed."""
    said = ask(*CHAINS, "device.chain_command_ns=20_000", "device.timeout_ms=5")
    (failing,) = said.changes()["exec_ns.attention"]
    assert failing.startswith(
        "+50 %: batch fails (pooled d1 b4 c1: attention: completion took longer"
    )
    assert "the ranking (order of the rows), 1 of 1 comparisons" in said.line("what holds")


def test_strategies_that_are_the_same(ask: Ask) -> None:
    said = ask("--strategies", "pooled,pipelined,batch", "depth=1")
    assert said.line("pooled").endswith(" (= pipelined)")
    assert said.line("batch").endswith(" pooled, pipelined")
    assert " 1.01x " in said.line("pooled"), (
        "speed-ups are over the serial baseline, compared or not"
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            ["device=hardware"],
            "device=hardware: has no assumed numbers to vary; use device=simulator",
        ),
        (["--strategies", "pooled"], "--strategies=pooled: nothing to compare"),
        (["--strategies", "pooled,bacth"], "strategy=bacth: no such option; did you mean batch?"),
        (["strategy=pooled"], "strategy=pooled: several are compared; name them with --strategies"),
        (["--al"], "--al: no such flag; did you mean --all? Allowed: --all, --config-dir, "),
        (["--strategies"], "--strategies: no value; write --strategies <value>"),
        (["device.lunch_ns=3"], "device.lunch_ns=3: unknown key; did you mean device.launch_ns=3?"),
        (["device.launch_ns=-1"], "device.launch_ns=-1: out of range"),
        (["depth=1,2"], "depth=1,2: several values; give one"),
        (["workload.tiles=0"], "workload.tiles=0: out of range; allowed: 1 to 10000000"),
        (["workload.kernel=none"], "kernel none: no "),
        (["--draws=-1"], "--draws=-1: give a number from 0 to 1000000"),
        (["device.clock=wall"], "device.clock=wall: numbers are varied in virtual time"),
        (["device.noise.enabled=true"], "device.noise, device.faults: "),
        (["device.faults.hang=[1]"], "device.noise, device.faults: "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_requests(arguments: list[str], reason: str, ask: Ask) -> None:
    said = ask(*arguments)
    assert (said.code, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert line.startswith(f"harness: {reason}")


def test_a_depth_without_effect_is_reported(ask: Ask) -> None:
    said = ask("--strategies", "pooled,batch", "depth=3")
    assert (said.code, said.err) == (
        0,
        "harness: depth=3 has no effect: none of pooled,batch takes it\n",
    )
    assert ask("--strategies", "pooled,pipelined", "depth=3").err == ""


def test_a_strategy_that_fails_as_it_is(ask: Ask) -> None:
    said = ask("device.timeout_ms=1")
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("harness: per_tile d1 b1 c1: ")
    assert len(said.err.splitlines()) == 1


def test_interrupted(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Experiment, "_measure", interrupt)
    said = ask()
    assert (said.code, said.out, said.err) == (130, "", "harness: interrupted\n")


def test_from_the_shell(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [
        sys.executable,
        "-m",
        "harness",
        "sensitivity",
        "workload.tiles=5",
        "--strategies",
        "pooled,batch",
        "depth=2",
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("attention, 5 tiles; ")
    assert not list(tmp_path.iterdir()), "a report leaves nothing behind"


def test_all_numbers_at_once(ask: Ask) -> None:
    """Batch is faster where a command takes less than 100 us, as 78 % of 39 to 117 us do."""
    said = ask(*CHAINS, "device.chain_command_ns=78_000", "--draws=2000")
    assert said.line("all assumed").startswith(
        "all assumed numbers at once (2), each drawn evenly between -50 % and +50 %: the whole "
    )
    first, second = said.line(" +1 "), said.line(" +2 ")
    for line, name in ((first, "batch"), (second, "pooled")):
        assert re.fullmatch(
            rf"\d {name} 7\d\.\d% 1 \.\. 2 (\d\d\.\d%|-) chain_command_ns [-+]0\.\d\d", line
        ), line


def test_the_share_of_draws_is_that_of_the_simulator() -> None:
    """Each draw is a profile of its own: the simulator gives the same order on the first ones."""
    configs = {name: config.load(f"strategy={name}") for name in ("pipelined", "stacked")}
    device = configs["stacked"].device
    assert isinstance(device, Simulator)
    numbers = numbers_of(device, ("attention",))
    ranks, drawn = rank_draws(configs, numbers, 8, seed=3), draw(numbers, 8, seed=3)
    assert ranks is not None
    longer = []
    for place in range(8):
        changed = device
        for key, values in drawn.items():
            changed = with_number(changed, key, int(values[place]))
        one, other = (
            Experiment(replace(each, device=changed, verify=Verify.off)).run().pass_times_ns[0]
            for each in configs.values()
        )
        longer.append(other / one > 1.01)
    assert (ranks.draws, ranks.failed) == (8, 0)
    assert ranks.places[0].clear == sum(longer) / 8
    assert 0 < sum(longer) < 8


def test_limits_and_noise_are_not_drawn(ask: Ask) -> None:
    device = Simulator(**dict.fromkeys(("columns", "queue_depth"), 4), heap_mib=4)
    numbers = [
        Number(key, 4, "x")
        for key in ("columns", "queue_depth", "noise.tight_pct", "heap_mib", "exec_ns.gelu")
    ]
    assert [each.key for each in drawable(device, numbers)] == ["heap_mib", "exec_ns.gelu"]
    assert "numbers at once" not in ask(*CHAINS, "--draws=0").out


def test_draws_in_which_a_strategy_fails_have_no_rank(ask: Ask) -> None:
    said = ask(*CHAINS, "device.chain_command_ns=20_000", "device.timeout_ms=5", "--draws=500")
    found = re.search(r"of (\d+) draws; in (\d+) more, a strategy fails$", said.line("all assumed"))
    assert found
    assert int(found[1]) + int(found[2]) == 500
    assert int(found[2]) > 50


def test_what_the_model_does_not_cover_is_reported(ask: Ask) -> None:
    said = ask(
        *CHAINS,
        "measure.warmup=0",
        "device.idle_suspend_ns=1000",
        "device.resume_ns=10",
        "device.context_open_ns=2000000000",
        "--draws=10",
    )
    assert said.line("not drawn").startswith("not drawn all at once: device.idle_suspend_ns: ")
