"""The kernels that an encoder is cut into: the role of each, and the sizes of its tile."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import prod

from harness.errors import RequestError, nearest
from harness.kernel import KernelSpec, kernel_names, load_kernel


class Unit(Enum):
    """What work is counted in: multiply-accumulates of products, values of what is computed
    value by value.
    """

    mac = "MAC"
    value = "values"


@dataclass(frozen=True)
class Role:
    """What a kernel computes: its sizes, its parts' and its output's shapes in them, its work by
    the sizes' product.
    """

    title: str
    sizes: str
    shapes: tuple[str, ...]
    unit: Unit
    work: int = 1


ROLES = {
    "matmul": Role("a matrix product", "mkn", ("mk", "kn", "mn"), Unit.mac),
    "attention": Role(
        "attention", "qsd", ("qd", "sd", "sd", "qd"), Unit.mac, work=2
    ),  # Q K^T, and the weighted sum of V
    "layernorm": Role("layer normalisation", "w", ("w", "w", "w", "w"), Unit.value),
    "gelu": Role("GELU", "v", ("v", "v"), Unit.value),
}


def tile_of(role: str, spec: KernelSpec) -> dict[str, int] | None:
    """Sizes of a kernel's tile by the letters of its role, from the shapes of its parts; None of
    another's.

    Its `ops`, two per multiply-accumulate, tell a product from a sum of arrays of the same shapes.
    """
    wanted = ROLES[role]
    shapes = [part.shape for part in (*spec.parts, *spec.output.parts)]
    if [len(shape) for shape in shapes] != [len(letters) for letters in wanted.shapes]:
        return None
    named = list(
        zip("".join(wanted.shapes), (size for shape in shapes for size in shape), strict=True)
    )
    tile = {letter: dict(named)[letter] for letter in wanted.sizes}
    if any(tile[letter] != size for letter, size in named):
        return None
    least = 2 * wanted.work * prod(tile.values()) if wanted.unit is Unit.mac else 0
    return tile if spec.ops >= least else None


@dataclass(frozen=True)
class Tiling:
    """The kernels that an encoder is cut into, one per role.

    RequestError where one is not what its role takes.
    """

    matmul: KernelSpec
    attention: KernelSpec
    layernorm: KernelSpec
    gelu: KernelSpec

    def __post_init__(self) -> None:
        for role in ROLES:
            if tile_of(role, self.spec(role)) is None:
                raise RequestError(
                    f"{role}={self.spec(role).name}: computes no tile of {ROLES[role].title}"
                )

    def spec(self, role: str) -> KernelSpec:
        """The kernel of a role."""
        spec: KernelSpec = getattr(self, role)
        return spec

    @property
    def specs(self) -> tuple[KernelSpec, ...]:
        """All of them."""
        return tuple(map(self.spec, ROLES))

    def tile(self, role: str) -> dict[str, int]:
        """Sizes of its tile by letter."""
        tile = tile_of(role, self.spec(role))
        assert tile is not None  # looked at when made
        return tile


def load_tiling(
    matmul: str = "matmul",
    attention: str = "attention",
    layernorm: str = "layernorm",
    gelu: str = "gelu",
    key: str = "",
) -> Tiling:
    """The kernels of those names.

    RequestError, of `key` and the role, for one not there or of another role.
    """
    names = {"matmul": matmul, "attention": attention, "layernorm": layernorm, "gelu": gelu}
    return Tiling(**{role: _load(role, name, key) for role, name in names.items()})


def _load(role: str, name: str, key: str) -> KernelSpec:
    try:
        spec = load_kernel(name)
        if tile_of(role, spec):
            return spec
    except RequestError:
        if name in kernel_names():
            raise  # it is there, and cannot be loaded
    fitting = [each for each in kernel_names() if _fits(role, each)]
    raise RequestError(
        f"{key}{role}={name}: no kernel that computes {ROLES[role].title}; {nearest(name, fitting)}"
    )


def _fits(role: str, name: str) -> bool:
    try:
        return tile_of(role, load_kernel(name)) is not None
    except RequestError:
        return False
