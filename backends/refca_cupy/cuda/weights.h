// The matrices of products: in the device's memory, or if WEIGHTS_AT_HAND copied to a block's shared memory. When the
// blocks of a cluster wait for each other, each multiprocessor's first-level cache is emptied; what is shared stays.
// `schedule.py` says when.
#pragma once

#include "unroll.h"

struct alignas(4 * sizeof(real)) Four {
  real x[4];
};

// The numbers from one row of a packed matrix to the next. Lanes that read two rows below each other's, as those of
// `tensor_products.h` do, find them in different banks of a multiprocessor's memory.
DEVICE int row_stride(int columns) { return columns % 8 ? columns : columns + 4; }

// Copy four numbers at a time.
DEVICE void copy(const real* from, int count, real* to) {
  for (int n = 4 * threadIdx.x; n < count; n += 4 * blockDim.x) *(Four*)(to + n) = *(const Four*)(from + n);
}

#if WEIGHTS_AT_HAND

DEVICE real* shared_memory() {
  SHARED_AT_LAUNCH(real, memory, u.shared);
  return memory;
}

#if STATES_AT_HAND
// Rows of a step come first (`states.h`), then the parameters, or for the backward pass the transposes.
DEVICE int row_size() { return (N + 1) * P4 + Q4; }
DEVICE real* weights_at_hand() { return shared_memory() + u.part * (row_size() + 2); }
DEVICE real* transposes_at_hand() { return shared_memory() + u.part * (2 * row_size() + 2); }
#else
DEVICE real* weights_at_hand() { return shared_memory(); }
DEVICE real* transposes_at_hand() { return shared_memory() + u.weights; }
#endif

DEVICE const real* at_hand(const real* matrix) { return weights_at_hand() + (matrix - u.packed); }
DEVICE const real* back_at_hand(const real* matrix) { return transposes_at_hand() + (matrix - u.packed_back); }

// Copy what a kernel reads, before its first step.
DEVICE void fetch_weights(bool back) {
  if (!back || !u.kept || DEPTHWISE) copy(u.packed, u.weights, weights_at_hand());
  if (back) copy(u.packed_back, u.weights_back, transposes_at_hand());
  SYNC();
}

#else

DEVICE const real* at_hand(const real* matrix) { return matrix; }
DEVICE const real* back_at_hand(const real* matrix) { return matrix; }
DEVICE void fetch_weights(bool back) {}

#endif
