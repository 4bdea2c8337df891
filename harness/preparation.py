"""What a request needs before anything runs: its kernels found to connect and fit, the device open, the inputs made."""

from __future__ import annotations

from harness.chain import Chain, make_chain
from harness.chained import ChainTiles, make_chain_tiles
from harness.config import Config, Verify
from harness.errors import RequestError
from harness.image import open_kernel
from harness.kernel import load_kernel
from harness.tiles import PERIODS, Tiles, check_source, make_tiles
from harness.world import World, host_now_ns, open_world


def preflight(config: Config) -> Config:
    """The configuration, if an experiment with it could begin; else RequestError.

    Leaves nothing open but hardware, which is locked for this process from here on.
    """
    check_source(config.workload.kernels[0], config.workload.source)
    _opened(config, _chain(config))
    return config


def prepare(config: Config) -> tuple[Chain, World, Tiles | ChainTiles]:
    """Kernels, device and inputs of a request; RequestError where it cannot run at all."""
    workload, strategy, chain = config.workload, config.strategy, _chain(config)
    world = _opened(config, chain)
    # A slot must not meet the inputs again that it had before: a stale output would be right.
    period = next(period for period in PERIODS if strategy.slots * strategy.batch % period)
    given = workload.tiles, workload.source, config.seed, host_now_ns, period
    if len(chain.kernels) > 1:
        return chain, world, make_chain_tiles(chain, *given)
    return chain, world, make_tiles(workload.kernels[0], *given)


def _chain(config: Config) -> Chain:
    """The kernels of the request; RequestError if they don't connect, or take more contexts than there are."""
    chain = make_chain([load_kernel(name) for name in config.workload.kernels], config.workload.links)
    if config.strategy.resident:
        for buffer in (buffer for spec in chain.kernels for buffer in spec.inputs):
            buffer.varying_bytes  # noqa: B018 - it raises where constants can't be told from the rest
    columns, kernels, limit = config.strategy.columns, len(chain.kernels), config.device.context_limit
    if kernels > 1 and kernels * columns > limit:
        raise RequestError(
            f"strategy.columns={columns}: {chain.name} needs a context for each kernel on each column, "
            f"{kernels * columns}; the device has {limit}: use 1 to {limit // kernels or 'a shorter chain'}"
        )
    return chain


def _opened(config: Config, chain: Chain) -> World:
    """The device, its kernels' files looked at."""
    world = open_world(config.device, *chain.kernels, computes=config.verify is Verify.all)
    for spec in chain.kernels:
        open_kernel(world, spec, config.strategy.columns)
    return world
