"""Chains of kernels: how they connect, exact logs worked out by hand, right bytes for any knobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.process import Shell
from support.rig import NEG
from support.small_device import ADD, COSTS, make_tiles

from harness.config.compose import load
from harness.config.device import Faults, Simulator
from harness.config.strategy import Buffers, Strategy
from harness.device.open import open_backend
from harness.device.xrt.backend import XrtBackend
from harness.device.xrt.session import XrtSession
from harness.errors import DeviceError, DeviceTimeoutError, RequestError
from harness.execution.executor import Executor
from harness.execution.prepare import make_plan
from harness.execution.verify import Checker
from harness.inputs.chain import Chain, Link, make_chain
from harness.inputs.tiles import Tiles
from harness.kernel import Buffer, Direction, KernelSpec, Part, load_kernel
from harness.measure.bounds import bounds
from harness.measure.timeline import PassMarks
from harness.units import ms_to_ns

pytestmark = pytest.mark.slow

SCALE = KernelSpec(
    name="scale",
    arguments=(
        Buffer("in", (Part("x", (96,)), Part("factor", (32,), constant=True))),
        Buffer("out", (Part("y", (96,)),), Direction.OUT),
    ),
    reference=lambda x, factor: (x * np.tile(factor, 3)).astype(np.int8),
    ops=96,
)
"""96 varying bytes of 128, to 96."""
APART = KernelSpec(
    name="apart",
    arguments=(
        Buffer("factors", (Part("factor", (32,), constant=True),)),
        Buffer("in", (Part("x", (96,)),)),
        Buffer("biases", (Part("bias", (96,), constant=True),)),
        Buffer("out", (Part("y", (96,)),), Direction.OUT),
    ),
    reference=lambda factor, x, bias: (x * np.tile(factor, 3) + bias).astype(np.int8),
    ops=96,
)
"""Constants in buffers of their own, before and behind the one that varies."""
EXEC_NS = {"add": 100, "neg": 50, "scale": 30, "apart": 40}
TIMEOUT_MS = 1000


def made(chain: Chain, period: int) -> Tiles:
    generator = np.random.default_rng(7)
    first = make_tiles(chain.kernels[0], period)
    constants = [
        tuple(
            generator.integers(1, 256, b.size_bytes - b.varying_bytes, np.uint8)
            for b in spec.inputs
        )
        for spec in chain.kernels[1:]
    ]
    return replace(first, chain=chain, later_constants=tuple(constants))


def opened(
    chain: Chain, tiles: int, inputs: Tiles, costs: dict[str, Any], **knobs: Any
) -> tuple[XrtBackend, Executor]:
    strategy = Strategy(**{"buffers": Buffers.pooled, **knobs})
    world = open_backend(Simulator(**{**COSTS, "exec_ns": EXEC_NS, **costs}), *chain.kernels)
    widths = chain.columns(strategy.columns, world.device._machine.profile.context_limit)
    sessions = [
        XrtSession(world, spec, width, TIMEOUT_MS)
        for spec, width in zip(chain.kernels, widths, strict=True)
    ]
    return world, Executor(sessions, strategy, tiles, inputs.constants, chain.links)


def run(chain: Chain, tiles: int, costs: dict[str, Any] | None = None, **knobs: Any) -> PassMarks:
    """A pass after a verified one; no hazard in either."""
    inputs = made(chain, max(1, tiles))
    world, executor = opened(chain, tiles, inputs, costs or {}, **knobs)
    checker = Checker(inputs)
    executor.run(inputs, checker, checker.poison)
    assert (checker.compared, checker.first_mismatch) == (tiles, "")
    checker = Checker(inputs)
    executor.poison(checker.poison)
    recording = executor.run(inputs, checker)
    assert (checker.compared, checker.first_mismatch) == (tiles, "")
    executor.close()
    assert world.take_hazards
    assert world.take_hazards() == []
    assert world.device._machine.contexts == []
    return recording


TWO = Chain((ADD, NEG), (Link.exact,))


def log(recording: PassMarks) -> list[tuple[str, int, int, int, int]]:
    timeline = recording.timeline()
    rows = sorted(timeline.rows.tolist(), key=lambda row: (row[4], row[0], row[1]))
    names = ("alloc", "write", "launch", "wait", "read", "load", "exec")
    return [(names[row[0]], row[1], row[6], row[4], row[5]) for row in rows]


def test_a_tile_passes_the_kernels_one_after_the_other() -> None:
    assert log(run(TWO, 1)) == [
        ("write", 0, 0, 0, 10),
        ("launch", 0, 0, 10, 30),
        ("wait", 0, 0, 30, 137),
        ("exec", 0, 0, 30, 130),
        ("read", 0, 0, 137, 142),
        ("write", 0, 1, 142, 152),
        ("launch", 0, 1, 152, 172),
        ("wait", 0, 1, 172, 229),
        ("exec", 0, 1, 172, 222),
        ("read", 0, 1, 229, 234),
    ]


def test_a_tile_between_kernels_blocks_no_other() -> None:
    """Tile 1 is at the first kernel; tile 0 leaves the second as soon as it ends; tile 2 begins."""
    entries = log(run(TWO, 3, depth=2))
    assert [entry for entry in entries if entry[0] in ("exec", "launch", "wait")] == [
        ("launch", 0, 0, 10, 30),
        ("exec", 0, 0, 30, 130),
        ("launch", 1, 0, 40, 60),
        ("wait", 0, 0, 60, 137),
        ("exec", 1, 0, 130, 230),
        ("launch", 0, 1, 152, 172),
        ("wait", 0, 1, 172, 229),
        ("exec", 0, 1, 172, 222),
        ("launch", 2, 0, 244, 264),
        ("wait", 1, 0, 264, 264),
        ("exec", 2, 0, 264, 364),
        ("launch", 1, 1, 279, 299),
        ("wait", 1, 1, 299, 356),
        ("exec", 1, 1, 299, 349),
        ("wait", 2, 0, 361, 371),
        ("launch", 2, 1, 386, 406),
        ("wait", 2, 1, 406, 463),
        ("exec", 2, 1, 406, 456),
    ]


def test_a_long_kernel_does_not_hold_up_a_short_one() -> None:
    """Tile 1 waits 10,000 ns at the first kernel; tile 0's second one is collected long before."""
    recording = run(TWO, 2, {"exec_ns": {"add": 10_000, "neg": 50}}, depth=2)
    ends = {(entry[1], entry[2]): entry[4] for entry in log(recording) if entry[0] == "wait"}
    assert ends[0, 1] < 11_000 < ends[1, 0]


def test_a_slot_is_taken_when_its_own_tile_is_done() -> None:
    """Tile 0 is slow on its column; tiles 1, 3 and 5 overtake it on the other.

    Tile 2 has no slot until tile 0 ends.
    """
    recording = run(TWO, 6, {"faults": Faults(slow=[0, 12], slow_factor=40)}, columns=2)
    ends = [
        end
        for stage, tile, kernel_index, _, end in log(recording)
        if (stage, kernel_index) == ("wait", 1)
    ]
    assert len(ends) == 6


@settings(max_examples=150)
@given(
    tiles=st.integers(0, 13),
    knobs=st.fixed_dictionaries(
        {
            "depth": st.integers(1, 4),
            "batch": st.integers(1, 5),
            "prefetch": st.integers(0, 2),
            "columns": st.integers(1, 4),
        }
    ),
    buffers=st.sampled_from(Buffers),
    resident=st.booleans(),
    kernels=st.lists(st.sampled_from([NEG, SCALE, APART]), max_size=2),
    exec_ns=st.fixed_dictionaries({name: st.integers(1, 500) for name in EXEC_NS}),
    ops=st.tuples(*[st.sampled_from([1, 100, 10_000])] * 3),
)
def test_whatever_the_knobs_the_outputs_are_right(
    tiles: int,
    knobs: dict[str, int],
    buffers: Buffers,
    resident: bool,
    kernels: Sequence[KernelSpec],
    exec_ns: dict[str, int],
    ops: tuple[int, ...],
) -> None:
    """ops: by them contexts are dealt where there are too few."""
    chain_of = [
        replace(spec, ops=each)
        for spec, each in zip((ADD, *dict.fromkeys(kernels)), ops, strict=False)
    ]
    links = []
    for before, after in pairwise(chain_of):
        given_bytes = before.output.size_bytes
        taken = sum(buffer.varying_bytes for buffer in after.inputs)
        links.append(next(link for link in Link if link.fits(given_bytes, taken)))
    chain = Chain(tuple(chain_of), tuple(links))
    resident = resident and buffers is Buffers.pooled
    recording = run(chain, tiles, {"exec_ns": exec_ns}, buffers=buffers, resident=resident, **knobs)
    timeline = recording.timeline()
    assert len(timeline.of(6)) == tiles * len(chain.kernels), "each tile at each kernel once"
    limits = bounds(timeline)
    assert (limits is None) == (tiles == 0)
    if limits:
        work_ns = [
            sum(row[5] - row[4] for row in timeline.of(6).tolist() if row[6] == k)
            for k in range(len(chain_of))
        ]
        per_column = max(
            work / width for work, width in zip(work_ns, timeline.kernel_columns, strict=True)
        )
        assert int(per_column) <= limits.device_bound_ns <= limits.bound_ns <= limits.makespan_ns
    seen = {(row[0], row[1], row[6]): row for row in timeline.rows.tolist()}
    for _, tile, _, column, start_ns, end_ns, kernel_index in timeline.of(6).tolist():
        first = tile - tile % knobs["batch"]
        launch, wait = seen[2, first, kernel_index], seen[3, first, kernel_index]
        assert launch[4] <= start_ns, "executed after its own launch"
        assert end_ns <= wait[5], "and before its end was seen"
        assert launch[3] == column < timeline.kernel_columns[kernel_index]
    flying = np.zeros(1)
    launches = [(row[4], 1) for row in timeline.of(2).tolist() if row[6] == 0]
    ends = [(row[5], -1) for row in timeline.of(4).tolist() if row[6] == len(chain.kernels) - 1]
    flying = np.cumsum([step for _, step in sorted(launches + ends)]) if launches else flying
    assert flying.max(initial=0) <= knobs["depth"] * knobs["columns"], (
        "depth counts tiles, whatever kernel they are at"
    )


@pytest.mark.parametrize("batch", [1, 3])
def test_resident_constants_are_sent_once(batch: int) -> None:
    """A sync costs 1 ns a byte. 96 of a tile's 128 bytes change: two lines of 64, or one less."""
    spec = replace(
        SCALE,
        arguments=(
            Buffer("in", (Part("x", (64,)), Part("factor", (64,), constant=True))),
            Buffer("out", (Part("y", (64,)),), Direction.OUT),
        ),
        reference=lambda x, factor: x * factor,
    )
    inputs = make_tiles(spec, 6)
    inputs = replace(
        inputs, packed=tuple(np.where(np.arange(128) < 64, p, p[:1]) for p in inputs.packed)
    )
    writes = {}
    for resident in (False, True):
        costs = {**COSTS, "exec_ns": EXEC_NS, "sync_ns_per_mib": 1 << 20}
        world = open_backend(Simulator(**costs), spec)
        strategy = Strategy(batch=batch, resident=resident)
        executor = Executor([XrtSession(world, spec, 1, 1000)], strategy, 6, inputs.constants)
        for _ in range(2):
            checker = Checker(inputs)
            recording = executor.run(inputs, checker, checker.poison)
            assert (checker.compared, checker.first_mismatch) == (6, "")
        writes[resident] = recording.timeline().sum_ns(1)
        executor.close()
        assert world.take_hazards
        assert world.take_hazards() == []
    assert writes[False] - writes[True] == 64 * 6 // batch, (
        "the last tile's constants of each submission"
    )


def test_what_a_link_drops_is_verified_too(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block takes 256 of attention's 4,096 bytes; corrupting the others is still wrong."""
    done = shell("tracking=off", "workload=encoder_block", "device.faults.corrupt=[4]")
    assert (done.code, done.record["verdict"]) == (1, "WRONG")
    right = Tiles.expect

    def wrong(self: Tiles, first: int, count: int, kernel_index: int = -1) -> np.ndarray:
        outputs = right(self, first, count, kernel_index).copy()
        if kernel_index == 0:
            outputs[:, 4000] ^= 1
        return outputs

    monkeypatch.setattr(Tiles, "expect", wrong)
    done = shell("tracking=off", "workload=encoder_block")
    assert (done.code, done.record["verdict"]) == (1, "WRONG")
    assert done.record["reason"].startswith("attention: tile 0: out[62, 32] is ")


# What does not connect


@pytest.mark.parametrize(
    ("kernels", "links", "said"),
    [
        (
            (ADD, SCALE),
            {},
            r"links\.scale=exact: add returns 128 bytes and scale takes 96, .*allowed: first",
        ),
        (
            (SCALE, NEG),
            {"neg": Link.first},
            r"links\.neg=first: scale returns 96 bytes and neg takes 128.*allowed: pad",
        ),
        ((ADD, NEG), {"neg": Link.pad}, r"allowed: exact"),
        ((ADD, NEG), {"net": Link.pad}, r"links\.net: .*did you mean neg"),
        (
            (ADD, NEG),
            {"add": Link.pad},
            r"links\.add: the chain has no kernel of this name that takes another's output",
        ),
    ],
)
def test_bytes_that_do_not_connect(kernels: Any, links: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        make_chain(kernels, links)


def test_a_kernel_of_two_buffers_that_vary_cannot_follow() -> None:
    two = replace(NEG, name="two", arguments=NEG.inputs * 2 + NEG.outputs)
    with pytest.raises(RequestError, match="two takes 2 input buffers that vary"):
        make_chain((ADD, two), {})


def test_bytes_that_are_read_as_another_type_are_reported() -> None:
    floats = Buffer("in", (Part("x", (ADD.output.size_bytes // 2,), "bfloat16"),))
    reads = replace(NEG, name="reads", arguments=(floats, *NEG.outputs))
    chain = make_chain((ADD, reads), {})
    assert chain.remarks == (
        "workload.chain: add returns int8, and reads reads the same bytes as bfloat16: nothing is "
        "converted",
    )
    assert TWO.remarks == ()


def test_constants_come_last() -> None:
    mixed = Buffer("mixed", (Part("w", (4,), constant=True), Part("x", (4,))))
    with pytest.raises(RequestError, match="mixed: a constant part comes before"):
        _ = mixed.varying_bytes


def test_a_device_that_fails_in_a_chain() -> None:
    inputs = made(TWO, 6)
    world, executor = opened(TWO, 6, inputs, {"faults": Faults(error=[4])}, depth=3)
    with pytest.raises(DeviceError, match="ERT_CMD_STATE_ERROR"):
        executor.run(inputs, lambda first, outputs: None)
    executor.close()
    assert world.device._machine.aborted == ""


# From the command line


def test_a_chain_that_hangs_fails_after_one_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tiles are written and launched in 60 ns; then neither ends."""
    inputs = made(TWO, 2)
    world, executor = opened(
        TWO, 2, inputs, {"faults": Faults(hang=[0]), "watchdog_ns": 0}, depth=2
    )
    failed_ns: list[int] = []
    monkeypatch.setattr(
        "harness.execution.executor.finish_in_flight",
        lambda launched, failed: failed_ns.append(world.clock.now_ns),
    )
    begin_ns = world.clock.now_ns
    with pytest.raises(DeviceTimeoutError, match=r"add: no completion within device.timeout_ms"):
        executor.run(inputs, lambda first, outputs: None)
    assert failed_ns == [begin_ns + 60 + ms_to_ns(TIMEOUT_MS)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["strategy=baseline"],
        ["strategy=pipelined", "depth=3"],
        ["strategy=stacked", "strategy.resident=true"],
        [
            "strategy=pipelined",
            "workload=encoder_block_fused",
            "strategy.columns=3",
            "strategy.prefetch=1",
        ],
        ["strategy=batch", "workload=encoder_block_fused", "strategy.resident=true", "verify=off"],
    ],
    ids=" ".join,
)
def test_the_encoder_block(shell: Shell, arguments: list[str]) -> None:
    done = shell("tracking=off", "workload=encoder_block", *arguments)
    assert (done.code, done.err) == (0, "")
    record = done.record
    assert (record["verdict"], record["hazards"]) == ("OK", [])
    assert record["metrics"]["bound/ratio"] >= 1
    assert record["metrics"]["rtf/end_to_end"] > 15
    assert {
        event["args"].get("kernel") for event in done.trace["traceEvents"] if event["ph"] == "X"
    } == set(record["kernel"].split("+"))


@pytest.mark.parametrize(
    ("wanted", "contexts", "columns"),
    [
        (1, 6, (1, 1, 1, 1)),
        (2, 8, (2, 2, 2, 2)),
        (4, 6, (3, 1, 1, 1)),
        (2, 6, (2, 1, 1, 2)),
        (4, 4, (1, 1, 1, 1)),
    ],
)
def test_contexts_go_to_the_kernels_that_have_most_to_do(
    wanted: int, contexts: int, columns: tuple[int, ...]
) -> None:
    """Operations: attention 1,089,536, layernorm 2,816, matmul 9,216, GELU 11,264."""
    block = [load_kernel(name) for name in ("attention", "layernorm", "matmul", "gelu")]
    chain = make_chain(block, {"layernorm": Link.first, "gelu": Link.pad})
    assert chain.columns(wanted, contexts) == columns


def test_columns_without_tiles_are_reported() -> None:
    small = ("workload.tiles=6", "strategy.batch=4", "strategy.columns=3")
    (line,) = make_plan(load("tracking=off", *small)).remarks
    assert line == (
        "strategy.columns=3: there is work for only 2, because workload.tiles=6 with "
        "strategy.batch=4 has 2 submissions"
    )
    assert make_plan(load("tracking=off", *small, "workload.tiles=12")).remarks == ()


def test_columns_without_contexts_are_reported(shell: Shell) -> None:
    done = shell(
        "tracking=off", "workload=encoder_block", "strategy.columns=4", "workload.tiles=24"
    )
    assert done.code == 0
    assert done.err == (
        "harness: strategy.columns=4: needs a context for each kernel on each column, and the "
        "device has 6; columns by the kernels' work: "
        "attention 3, layernorm 1, matmul 1, gelu 1\n"
    )
    assert (done.record["label"], done.record["knobs"]["columns"]) == ("pooled d2 b1 c3", 3)
    used = {
        (e["args"]["kernel"], e["args"]["column"])
        for e in done.trace["traceEvents"]
        if e.get("cat") == "exec"
    }
    others = ("layernorm", "matmul", "gelu")
    assert used == {
        *(("attention", column) for column in range(3)),
        *((kernel, 0) for kernel in others),
    }


def test_fused_and_unfused_give_the_same_bytes() -> None:
    block = [load_kernel(name) for name in ("attention", "layernorm", "matmul", "gelu")]
    fused = [load_kernel(name) for name in ("attention_layernorm", "matmul_gelu")]
    unfused_chain = make_chain(block, {"layernorm": Link.first, "gelu": Link.pad})
    generator = np.random.default_rng(3)
    qkv = generator.integers(0, 256, (5, 12_288), np.uint8)
    gamma_beta, weights = (generator.integers(0, 256, (1, size), np.uint8) for size in (512, 256))
    outputs = [block[0].compute(qkv)]
    for kernel_index, constants in ((1, gamma_beta), (2, weights), (3, np.zeros((1, 0), np.uint8))):
        varying = unfused_chain.glue(kernel_index, outputs[-1])
        outputs.append(
            block[kernel_index].compute(
                np.concatenate([varying, constants.repeat(5, axis=0)], axis=1)
            )
        )
    first = fused[0].compute(np.concatenate([qkv, gamma_beta.repeat(5, axis=0)], axis=1))
    assert (
        fused[1].compute(np.concatenate([first, weights.repeat(5, axis=0)], axis=1)) == outputs[-1]
    ).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["device.context_limit=3"],
            "workload.chain: attention+layernorm+matmul+gelu needs a context for each kernel",
        ),
        (["strategy.columns=8"], "strategy.columns=8"),
        (
            ["workload.links.gelu=exact"],
            "workload.links.gelu=exact: matmul returns 256 bytes and gelu takes 512",
        ),
        (["workload.chain=[attention,layrnorm]"], "layrnorm"),
        (["workload.kernel=attention"], "workload.kernel=attention"),
        (["strategy=baseline", "strategy.resident=true"], "strategy.resident=true"),
    ],
)
def test_a_chain_that_cannot_be(shell: Shell, arguments: list[str], said: str) -> None:
    done = shell("tracking=off", "workload=encoder_block", *arguments)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1), done.err
    assert said in done.err
