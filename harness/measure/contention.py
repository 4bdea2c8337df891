"""Host and device share the memory: the times of syncs and executions beside each other.

The rule is that of the simulator: see `harness.sim.contention`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.measure.pass_model import Ns, PassModel
from harness.units import PERMILLE


@dataclass
class DeviceTimes:
    """What is known of the device's work at a time: integers or arrays, from the pass's begin.

    free: end of the work of each partition. loaded: the context that each has used last. visible:
    when the host can see the end of each step, by step modulo their number. places: for each
    context, when the places of its queue become free.
    """

    free: list[Ns]
    loaded: list[int]
    visible: list[Ns]
    places: list[deque[Ns]]


class Contention:
    """Lengthens syncs, and delays the work beside them.

    partition: that of each context. kernels: the kernel of each context.
    """

    def __init__(
        self,
        model: PassModel,
        partition: Sequence[int],
        kernels: Sequence[int],
        contexts_of_steps: Sequence[int],
        is_array: bool,
    ) -> None:
        self._slowdowns = [model.stations[kernel].slowdowns for kernel in kernels]
        self._completion_ns = model.completion_ns
        self._partition, self._context = partition, contexts_of_steps
        self._smaller: Callable[[Ns, Ns], Ns] = np.minimum if is_array else min
        self._larger: Callable[[Ns, Ns], Ns] = np.maximum if is_array else max

    def sync(self, cost_ns: Ns, now: Ns, device: DeviceTimes) -> Ns:
        """The length of a sync that begins at `now`; `device` changes."""
        smaller, larger, length_ns = self._smaller, self._larger, cost_ns
        used = [(place, each) for place, each in enumerate(device.loaded) if each >= 0]
        for place, context in used:
            _, slower = self._slowdowns[context]
            beside = smaller(cost_ns, larger(device.free[place] - now, 0))
            length_ns = larger(length_ns, cost_ns + beside * slower // PERMILLE)
        for place, context in used:
            slower, _ = self._slowdowns[context]
            self._delay(device, place, now, slower, length_ns * slower // (PERMILLE + slower))
        return length_ns

    def _delay(self, device: DeviceTimes, place: int, now: Ns, slower: Ns, most_ns: Ns) -> None:
        smaller, larger, completion_ns = self._smaller, self._larger, self._completion_ns

        def later(time: Ns) -> Ns:
            delay = smaller((time - now) * slower // PERMILLE, most_ns)
            return time + larger(delay, 0)

        device.free[place] = later(device.free[place])
        for step in self._steps(place, len(device.visible)):
            device.visible[step] = later(device.visible[step] - completion_ns) + completion_ns
        for context, places in enumerate(device.places):
            if self._partition[context] == place:
                device.places[context] = deque(map(later, places), places.maxlen)

    def _steps(self, place: int, count: int) -> Iterator[int]:
        return (step for step in range(count) if self._partition[self._context[step]] == place)
