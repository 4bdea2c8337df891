"""The bound of a pass that is modelled and not run, as `harness.measure.bounds` defines it."""

from __future__ import annotations

from harness.measure.pass_model import PassModel


def pass_bound_ns(model: PassModel) -> int:
    """The shortest makespan that the costs of a model allow; costs are integers, not arrays.

    Executions of warm contexts, without switches between them. It is the bound of the pass in the
    simulator, or less: there, a host that never looks at a completion in time makes the shortest
    completion of the pass longer.
    """
    full, tail = divmod(model.tiles, model.batch)
    counts = [model.batch] * bool(full) + [tail] * bool(tail)
    submissions, launches = full + bool(tail), (full + bool(tail)) * len(model.stations)
    moves_ns = sum(
        full * each.get(model.batch, 0) + bool(tail) * each.get(tail, 0)
        for station in model.stations
        for each in (station.write_ns, station.read_ns)
    )
    host_ns = submissions * model.alloc_ns + moves_ns + launches * model.launch_ns
    # Commands of a runlist after the first of each `chain_length` cost more.
    later = sum(
        times * (count - -(-count // model.chain_length))
        for count, times in ((model.batch, full), (tail, bool(tail)))
    )
    work_ns = [
        (model.tiles * each.exec_ns + later * model.command_ns, len(each.partitions))
        for each in model.stations
    ]
    # As in `bounds`; with fewer submissions than that, some contexts have no work.
    used = [column for station in model.stations for column in station.partitions]
    if len(set(used)) < len(used) and submissions >= max(columns for _, columns in work_ns):
        work_ns.append((sum(each for each, _ in work_ns), len(set(used))))
    device_ns, columns = max(work_ns, key=lambda each: each[0] / each[1])
    fill_ns = model.alloc_ns + model.stations[0].write_ns[counts[0]] + model.launch_ns
    drain_ns = min(each.read_ns[count] for each in model.stations for count in counts)
    bound_ns = fill_ns + device_ns // columns + model.completion_ns + drain_ns
    return int(max(host_ns, bound_ns))
