"""A lower bound of the time of a strategy, computed from the costs of the simulator, without a run.

A bound of `measure.bounds` needs the stage times of a pass that has run. This one takes them from
the profile, so that a search can leave out strategies that cannot be the best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.config.device import Simulator
from harness.config.execution_time import execution
from harness.config.strategy import Buffers, Strategy
from harness.execution.prepare import Plan
from harness.inputs.chain import Chain
from harness.kernel import LINE_BYTES, KernelSpec
from harness.measure.timeline import Spans


def shortest_pass_ns(plan: Plan) -> int | None:
    """A lower bound of the time of any pass of this plan; None if the costs are not known.

    They are known for tiles of a kernel or a chain on a simulator without noise. The bound is the
    largest of four times:

    * the host does all its work, and then the last submission runs and is read;
    * a column executes its submissions one after the other;
    * a slot serves its submissions one after the other;
    * only `strategy.in_flight` submissions are between their launch and their read.
    """
    device, chain = plan.config.device, plan.kernels
    if not isinstance(device, Simulator) or device.noise.enabled or not isinstance(chain, Chain):
        return None
    strategy = plan.config.strategy
    costs = [_costs(plan, device, spec) for spec in chain.kernels]
    stage_ns = sum((each.alloc for each in costs), costs[0].write)
    if not plan.config.measure.warmup:
        # Every pass then begins on cold contexts: the first execution on each of them is longer.
        for each, contexts in zip(costs, plan.columns, strict=True):
            each.execute[:contexts] += device.cold_start_ns
    columns = [
        _columns_ns(costs, kernel, stage_ns, strategy, each)
        for kernel, each in enumerate(plan.columns)
    ]
    slots_ns = _slots_ns(costs, stage_ns, strategy)
    return max(_host_ns(costs, stage_ns, strategy), *columns, slots_ns)


@dataclass(frozen=True)
class Costs:
    """Costs of each submission of a pass at one kernel, in order, (submissions,) int64 ns each.

    execute: time of a column. completion: from the end of the execution until the host sees it.
    """

    alloc: Spans
    write: Spans
    launch: Spans
    execute: Spans
    completion: Spans
    read: Spans

    @property
    def in_flight(self) -> Spans:
        """From the begin of the launch to the end of the read, if nothing else happens."""
        return self.launch + self.execute + self.completion + self.read


def _costs(plan: Plan, device: Simulator, spec: KernelSpec) -> Costs:
    strategy, tiles = plan.config.strategy, plan.config.workload.tiles
    full, tail = divmod(tiles, strategy.batch)
    counts = [strategy.batch] * bool(full) + [tail] * bool(tail)
    exec_ns, _ = execution(device, spec, sum(plan.columns))
    rows = np.array(
        [_of_submission(device, strategy, spec, count, exec_ns) for count in counts], np.int64
    )
    repeated = np.repeat(rows, [full] * bool(full) + [1] * bool(tail), axis=0)
    return Costs(*repeated.T)


def _of_submission(
    device: Simulator, strategy: Strategy, spec: KernelSpec, count: int, exec_ns: int
) -> tuple[int, ...]:
    """The fields of `Costs` for one submission of `count` tiles."""
    write_ns = 0
    for buffer in spec.inputs:
        size_bytes = buffer.stride_bytes * count
        if strategy.resident:
            if not buffer.varying_bytes:
                continue
            # Of the last tile, only whole cache lines with varying bytes are synced.
            size_bytes -= buffer.stride_bytes - buffer.varying_bytes
            size_bytes = -(-size_bytes // LINE_BYTES) * LINE_BYTES
        write_ns += device.sync_ns(device.write_fixed_ns, size_bytes)
    bos = len(spec.buffers) if strategy.buffers is Buffers.per_tile else 0
    # A runlist becomes commands of `chain_length` executions; the first of each costs no more.
    later = count - -(-count // device.chain_length)
    return (
        bos * device.alloc_ns,
        write_ns,
        device.launch_ns,
        count * exec_ns + later * device.chain_command_ns,
        device.completion_ns,
        sum(
            device.sync_ns(device.read_fixed_ns, each.stride_bytes * count) for each in spec.outputs
        ),
    )


def _ways(costs: list[Costs]) -> Spans:
    """From the launch of each submission at the first kernel to its read at the last."""
    return sum((each.write + each.in_flight for each in costs[1:]), costs[0].in_flight)


def _host_ns(costs: list[Costs], stage_ns: Spans, strategy: Strategy) -> int:
    later = costs[1:]
    after_launch_ns = sum((c.write + c.launch + c.read for c in later), costs[0].read)
    # Before the last launch, the others have been launched, and all but `in_flight` collected.
    collected = max(0, len(stage_ns) - strategy.in_flight)
    before_ns = (stage_ns + costs[0].launch)[:-1].sum() + after_launch_ns[:collected].sum()
    last_ns = before_ns + stage_ns[-1] + _ways(costs)[-1]
    return int(max((stage_ns + costs[0].launch + after_launch_ns).sum(), last_ns))


def _columns_ns(
    costs: list[Costs], kernel: int, stage_ns: Spans, strategy: Strategy, columns: int
) -> int:
    submissions = len(stage_ns)
    slots = min(strategy.slots, submissions)
    places = np.arange(submissions) % slots % columns
    # Submissions are staged and launched in order.
    launched_ns = np.cumsum(stage_ns + costs[0].launch)
    own, longest_ns = costs[kernel], 0
    for column in range(min(columns, slots)):
        numbers = np.flatnonzero(places == column)
        first, last = numbers[0], numbers[-1]
        begin_ns = launched_ns[first]
        if kernel:
            begin_ns += sum(c.execute[first] + c.completion[first] for c in costs[:kernel])
            begin_ns += sum(c.read[first] for c in costs[:kernel])
            begin_ns += sum(c.write[first] + c.launch[first] for c in costs[1 : kernel + 1])
        end_ns = own.completion[last] + own.read[last]
        end_ns += sum(c.write[last] + c.in_flight[last] for c in costs[kernel + 1 :])
        longest_ns = max(longest_ns, int(begin_ns + own.execute[numbers].sum() + end_ns))
    return longest_ns


def _slots_ns(costs: list[Costs], stage_ns: Spans, strategy: Strategy) -> int:
    submissions, ways = len(stage_ns), _ways(costs)
    slots = min(strategy.slots, submissions)
    padded = np.zeros(-(-submissions // slots) * slots, np.int64)
    padded[:submissions] = stage_ns + ways
    before_ns = np.cumsum(stage_ns)[:slots] - stage_ns[:slots]
    slot_ns = int((before_ns + padded.reshape(-1, slots).sum(axis=0)).max())
    return max(slot_ns, int(stage_ns[0]) + -(-int(ways.sum()) // strategy.in_flight))
