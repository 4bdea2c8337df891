"""The kernels that compute an encoder's operations: the role of each, and the sizes of its tile."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import prod

from harness.errors import RequestError, nearest
from harness.kernel import KernelSpec, kernel_names, load_kernel


class Unit(Enum):
    """Unit of work: multiply-accumulates for products, values for elementwise operations."""

    mac = "MAC"
    value = "values"


@dataclass(frozen=True)
class Role:
    """What a kernel computes.

    title: name in messages. sizes: one letter per size. shapes: the shape of each input part and of
    the output, in those letters. work: units of work, as a multiple of the product of all sizes.
    """

    title: str
    sizes: str
    shapes: tuple[str, ...]
    unit: Unit
    work: int = 1


ROLES = {
    "matmul": Role("a matrix product", "mkn", ("mk", "kn", "mn"), Unit.mac),
    # Two products: Q K^T, and the weighted sum of V.
    "attention": Role("attention", "qsd", ("qd", "sd", "sd", "qd"), Unit.mac, work=2),
    "layernorm": Role("layer normalisation", "w", ("w", "w", "w", "w"), Unit.value),
    "gelu": Role("GELU", "v", ("v", "v"), Unit.value),
}


def tile_of(role: str, spec: KernelSpec) -> dict[str, int] | None:
    """Return the sizes of a kernel's tile by letter, from the shapes of its parts.

    None if the kernel does not have the role: its shapes do not match, or it declares fewer `ops`
    than the role needs (a sum of two arrays can have the shapes of a product).
    """
    kind = ROLES[role]
    shapes = [part.shape for part in (*spec.parts, *spec.output.parts)]
    if [len(shape) for shape in shapes] != [len(letters) for letters in kind.shapes]:
        return None
    sizes = [size for shape in shapes for size in shape]
    pairs = list(zip("".join(kind.shapes), sizes, strict=True))
    tile = {letter: dict(pairs)[letter] for letter in kind.sizes}
    # The same letter must have the same size everywhere.
    if any(tile[letter] != size for letter, size in pairs):
        return None
    # A multiply-accumulate counts as two operations.
    least_ops = 2 * kind.work * prod(tile.values()) if kind.unit is Unit.mac else 0
    return tile if spec.ops >= least_ops else None


@dataclass(frozen=True)
class Tiling:
    """The kernels that compute an encoder's operations, one per role.

    RequestError if a kernel does not have its role.

        tiling = load_tiling(matmul="matmul_64")
        tiling.tile("matmul")  # {"m": 64, "k": 64, "n": 64}
        operations(encoder_of("whisper_base"), tiling)
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
        """Return the kernel of a role."""
        spec: KernelSpec = getattr(self, role)
        return spec

    @property
    def specs(self) -> tuple[KernelSpec, ...]:
        """The four kernels, in the order of ROLES."""
        return tuple(map(self.spec, ROLES))

    def tile(self, role: str) -> dict[str, int]:
        """Return the sizes of a role's tile by letter."""
        tile = tile_of(role, self.spec(role))
        # `__post_init__` has checked it.
        assert tile is not None
        return tile


def load_tiling(
    matmul: str = "matmul",
    attention: str = "attention",
    layernorm: str = "layernorm",
    gelu: str = "gelu",
    key: str = "",
) -> Tiling:
    """Load the kernels of those names.

    RequestError if one does not exist or has another role; `key` and the role lead the message.
    """
    names = {"matmul": matmul, "attention": attention, "layernorm": layernorm, "gelu": gelu}
    return Tiling(**{role: _load(role, name, key) for role, name in names.items()})


def _load(role: str, name: str, key: str) -> KernelSpec:
    try:
        spec = load_kernel(name)
        if tile_of(role, spec):
            return spec
    except RequestError:
        # The kernel exists, but it cannot be loaded.
        if name in kernel_names():
            raise
    choices = [each for each in kernel_names() if _has_role(role, each)]
    raise RequestError(
        f"{key}{role}={name}: no kernel that computes {ROLES[role].title}; {nearest(name, choices)}"
    )


def _has_role(role: str, name: str) -> bool:
    try:
        return tile_of(role, load_kernel(name)) is not None
    except RequestError:
        return False
