"""Tiles of a matrix product whose sums stay in registers, written in LLVM's vectors.

A tile of out (m, n) += a (m, k) @ b (k, n) is ROWS rows high and a few vectors wide. Each step of its loop over k
loads one row of b, and one element of a for each row of the tile. Numba does not find this arrangement in a loop
over single numbers. From vectors, LLVM has only to choose instructions and registers.

Addresses and strides count bytes here.

Sources: Goto, van de Geijn, "Anatomy of high-performance matrix multiplication", 2008; the LLVM language
reference, "Vector Operations".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils as untyped
from numba.extending import intrinsic

cgutils: Any = untyped
INDEX, SIZE = ir.IntType(32), ir.IntType(64)
FUSED = ("contract",)  # a product and a sum may be one instruction
AVX512 = bool(llvmlite.binding.get_host_cpu_features().get("avx512f"))
# The sums take 24 of 32 registers of 64 bytes, or 8 of 16 of 32 bytes: with 12 of 16, LLVM moves one to memory.
ROWS, VECTORS, VECTOR_BYTES = (8, 3, 64) if AVX512 else (4, 2, 32)


class Operands(NamedTuple):
    """The arguments of a tile: addresses of first elements, distances, and how much of the tile there is."""

    a: Any
    a_row: Any  # from one row to the next
    a_column: Any
    b: Any
    b_row: Any
    out: Any
    out_row: Any
    k: Any  # at least 1
    rows: Any
    columns: Any


def tile(vectors: int, edge: bool) -> Callable[..., None]:
    """Return a function for compiled code that adds one tile to a product: tile(array of the dtype, Operands).

    Only at an edge may rows and columns be fewer than ROWS and `vectors` vectors. b must have whole vectors.
    """

    @intrinsic
    def add_tile(context: Any, like: Any, operands: Any) -> Any:
        def emit(_: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> None:
            unpacked = Operands(*cgutils.unpack_tuple(builder, given[1]))
            Tile(builder, like.dtype, vectors, unpacked, edge).emit()

        return types.void(like, operands), emit

    return add_tile


class Tile:
    """The instructions of one tile."""

    def __init__(self, builder: ir.IRBuilder, dtype: Any, vectors: int, operands: Operands, edge: bool) -> None:
        self.builder, self.operands, self.vectors, self.edge = builder, operands, vectors, edge
        self.real = ir.DoubleType() if dtype == types.float64 else ir.FloatType()
        self.bytes = dtype.bitwidth // 8
        self.lanes = VECTOR_BYTES // self.bytes
        self.vector = ir.VectorType(self.real, self.lanes)

    def emit(self) -> None:
        """Emit the loop over k, then the additions to `out`."""
        builder, (a, _, a_column, b, b_row, *_, k, _, _) = self.builder, self.operands
        starts, zero = self.row_starts(), ir.Constant(self.vector, None)
        before, loop, end = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        left, a_now, b_now = (builder.phi(SIZE) for _ in range(3))
        sums = [builder.phi(self.vector) for _ in range(ROWS * self.vectors)]
        b_values = [self.load(b_now, j * VECTOR_BYTES) for j in range(self.vectors)]
        totals = []
        for i, start in enumerate(starts):
            factor = self.broadcast(builder.add(a_now, start))
            for j, value in enumerate(b_values):
                product = builder.fmul(factor, value, flags=FUSED)
                totals.append(builder.fadd(sums[i * self.vectors + j], product, flags=FUSED))
        following = [builder.sub(left, number(1)), builder.add(a_now, a_column), builder.add(b_now, b_row), *totals]
        first = [k, a, b, *[zero] * len(sums)]
        for phi, start, after in zip([left, a_now, b_now, *sums], first, following, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(after, loop)
        builder.cbranch(builder.icmp_signed(">", following[0], number(0)), loop, end)
        builder.position_at_end(end)
        (self.add_edge if self.edge else self.add_whole)(totals)

    def row_starts(self) -> list[Any]:
        """The distances of the tile's rows of a from the first; at an edge, the last row stands in for the missing."""
        builder, starts, (_, a_row, *_, rows, _) = self.builder, [], self.operands
        last = builder.sub(rows, number(1))
        for i in range(ROWS):
            there = builder.icmp_signed("<", number(i), last)
            row = builder.select(there, number(i), last) if self.edge else number(i)
            starts.append(builder.mul(row, a_row))
        return starts

    def add_whole(self, totals: list[Any]) -> None:
        """Add a whole tile of sums to `out`, vector by vector."""
        builder = self.builder
        for i in range(ROWS):
            row = builder.add(self.operands.out, builder.mul(number(i), self.operands.out_row))
            for j in range(self.vectors):
                total = totals[i * self.vectors + j]
                total = builder.fadd(self.load(row, j * VECTOR_BYTES), total)
                builder.store(total, self.pointer(row, j * VECTOR_BYTES, self.vector), align=self.bytes)

    def add_edge(self, totals: list[Any]) -> None:
        """Add the rows and columns of the sums that are there to `out`, by way of the stack."""
        builder, width = self.builder, self.vectors * VECTOR_BYTES
        stack = cgutils.alloca_once(builder, self.vector, size=len(totals))
        stack = builder.ptrtoint(stack, SIZE)
        for i, total in enumerate(totals):
            builder.store(total, self.pointer(stack, i * VECTOR_BYTES, self.vector), align=self.bytes)
        rows, columns = self.operands[-2:]
        with cgutils.for_range(builder, rows) as row, cgutils.for_range(builder, columns) as column:
            across = builder.mul(column.index, number(self.bytes))
            source = builder.add(stack, builder.add(builder.mul(row.index, number(width)), across))
            target = builder.add(builder.mul(row.index, self.operands.out_row), across)
            where = self.pointer(builder.add(self.operands.out, target), 0, self.real)
            total = builder.load(self.pointer(source, 0, self.real), align=self.bytes)
            builder.store(builder.fadd(builder.load(where, align=self.bytes), total), where, align=self.bytes)

    def load(self, address: Any, offset: int) -> Any:
        """A vector from memory."""
        return self.builder.load(self.pointer(address, offset, self.vector), align=self.bytes)

    def broadcast(self, address: Any) -> Any:
        """A vector of one number from memory, over and over."""
        one = self.builder.load(self.pointer(address, 0, self.real), align=self.bytes)
        first = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), one, ir.Constant(INDEX, 0))
        return self.builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(INDEX, self.lanes), None))

    def pointer(self, address: Any, offset: int, kind: Any) -> Any:
        """A pointer to a number or vector."""
        return self.builder.inttoptr(self.builder.add(address, number(offset)), kind.as_pointer())


def number(value: int) -> Any:
    """A constant."""
    return ir.Constant(SIZE, value)
