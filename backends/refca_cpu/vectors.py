"""Vectors of numbers for compiled code: one register each, so that a kernel can say what stays in registers.

`load` and `store` move them; +, - and * work lane by lane, and a product and a sum may become one instruction. A
compiler's own vectors of a loop start and end in memory at each row.

Source: the LLVM language reference, "Vector Operations".
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped
from numba.extending import intrinsic as untyped_intrinsic
from numba.extending import models, overload, register_model

from refca_cpu.arrays import Reals
from refca_cpu.compiled import njit
from refca_cpu.tiles import FUSED, VECTOR_BYTES

cgutils: Any = untyped


def intrinsic(function: Any) -> Any:
    """Make a function for compiled code, which is called without the first argument."""
    return untyped_intrinsic(function)


class Vector(types.Type):
    """VECTOR_BYTES of numbers of one dtype."""

    def __init__(self, dtype: Any) -> None:
        self.dtype, self.bytes = dtype, dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.bytes
        super().__init__(f"Vector({dtype})")

    @property
    def kind(self) -> Any:
        """LLVM's type."""
        return ir.VectorType(ir.DoubleType() if self.dtype == types.float64 else ir.FloatType(), self.lanes)


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """A vector is a value like a number."""

    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.kind)  # type: ignore[no-untyped-call]


def address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """A pointer to the vector that starts at a place of a flat array."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(cgutils.gep(builder, data, index), Vector(kind.dtype).kind.as_pointer())


@intrinsic
def load(context: Any, array: Any, index: Any) -> Any:
    """The vector that starts at a place of a flat array."""

    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load(address(context, builder, array, *given), align=array.dtype.bitwidth // 8)

    return Vector(array.dtype)(array, types.intp), emit


@intrinsic
def store(context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write a vector to a place of a flat array."""

    def emit(context: Any, builder: Any, signature: Any, given: Any) -> None:
        builder.store(given[2], address(context, builder, array, *given[:2]), align=array.dtype.bitwidth // 8)

    return types.void(array, types.intp, value), emit


@intrinsic
def passed(context: Any, value: Any, at: Any) -> Any:
    """The value where `at` is above 0 or NaN, else 0."""

    def emit(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        zero = ir.Constant(at.kind, None)
        return builder.select(builder.fcmp_ordered("<=", given[1], zero), zero, given[0])

    return value(value, at), emit


def arithmetic(sign: Any, instruction: str) -> None:
    """Give vectors an operator."""

    @intrinsic
    def combine(context: Any, x: Any, y: Any) -> Any:
        return x(x, y), lambda _, builder, signature, given: getattr(builder, instruction)(*given, flags=FUSED)

    @overload(sign, strict=False)
    def of_vectors(x: Any, y: Any) -> Any:
        if isinstance(x, Vector) and x == y:
            return lambda x, y: combine(x, y)
        return None


for sign, instruction in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    arithmetic(sign, instruction)


@njit(forceinline=True)
def extent(rows: Reals) -> tuple[int, int, int]:
    """The channels of rows, how many of them are in whole vectors, and the lanes of a vector."""
    P, lanes = rows.shape[1], VECTOR_BYTES // rows.itemsize
    return P, P // lanes * lanes, lanes
