"""Binds the arguments of a run to a launch: what it uses, what it computes, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from harness.hazard import Kind
from harness.kernel import FIRST_DATA_ARGUMENT, Buffer
from harness.sim.access import Access
from harness.sim.argument import Argument
from harness.sim.kernel_model import NO_BANK, KernelModel
from harness.sim.launch import Launch


def bind_arguments(
    launch: Launch, model: KernelModel, arguments: Sequence[Argument | None]
) -> None:
    """Add the values of a run's arguments to `launch`; those that are wrong become its problems.

    Executions compute if every argument that the kernel uses has a value of the right kind and
    size. What the spec does not use may have any value, or none.
    """
    for index in sorted(launch.spoilt_arguments):
        spoilt = f"argument {index}, spoilt by the failure of this run"
        launch.problem(Kind.UNSET_ARGUMENT, spoilt)
    whole: list[Access] = []
    numbers: list[int] = []
    for index, argument in enumerate(arguments):
        buffer, is_scalar = model.buffers.get(index), index in model.scalars
        is_used = buffer is not None or is_scalar or index < FIRST_DATA_ARGUMENT
        if argument is None:
            if is_used:
                launch.problem(Kind.UNSET_ARGUMENT, f"argument {index}")
        elif argument.problem is Kind.WRONG_BANK:
            launch.problem(Kind.WRONG_BANK, f"argument {index}", argument.site)
        elif argument.memory is None:
            if is_scalar:
                numbers.append(argument.value)
            elif model.banks[index] != NO_BANK and is_used:
                number = f"argument {index}, a number instead of a bo"
                launch.problem(Kind.UNSET_ARGUMENT, number, argument.site)
        else:
            access = _use(launch, model, index, argument, buffer)
            if buffer and access.key[1] - access.key[0] == buffer.size_bytes:
                whole.append(access)
    if model.computes:
        launch.compared_memories = [each.memory for each in launch.accesses]
        if len(whole) == len(model.buffers) and len(numbers) == len(model.scalars):
            launch.compute(model.arithmetic(tuple(numbers)), whole)


def _use(
    launch: Launch, model: KernelModel, index: int, argument: Argument, buffer: Buffer | None
) -> Access:
    """Add the bytes of a bo; buffer: what the spec declares, None if it does not use it."""
    assert argument.memory is not None
    low, high = argument.key
    if buffer and low + buffer.size_bytes > high:
        short = f"argument {index}, {high - low} of {buffer.size_bytes} B"
        launch.problem(Kind.UNSET_ARGUMENT, short, argument.site)
    elif buffer:
        high = low + buffer.size_bytes
    # Without a spec, whether the kernel writes a data argument is unknown (None).
    is_known = model.spec is not None or index < FIRST_DATA_ARGUMENT
    writes = index in launch.outputs or (False if is_known else None)
    reads = not writes or (buffer is not None and buffer.is_input)
    key = low, min(high, argument.memory.size)
    access = launch.use(index, argument.memory, key, writes, reads)
    if argument.problem:
        launch.problem(argument.problem, f"argument {index}", argument.site)
    return access
