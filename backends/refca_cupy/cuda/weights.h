// The matrices of products: in the device's memory, or if WEIGHTS_AT_HAND copied to a block's shared memory. When the
// blocks of a cluster wait for each other, each multiprocessor's first-level cache is emptied; what is shared stays.
// `keeps_weights` of `schedule.py` says when.
#pragma once

#include "unroll.h"

struct alignas(4 * sizeof(real)) Four {
  real x[4];
};

// The numbers from one row of a packed matrix to the next. Lanes that read two rows below each other's, as those of
// `tensor_products.h` do, find them in different banks of a multiprocessor's memory.
DEVICE int row_stride(int columns) { return columns % 8 ? columns : columns + 4; }

#if WEIGHTS_AT_HAND

// The packed parameters, then for the backward pass their transposes.
DEVICE real* weights_at_hand() {
  SHARED_AT_LAUNCH(real, weights, u.weights + u.weights_back);
  return weights;
}

DEVICE const real* at_hand(const real* matrix) { return weights_at_hand() + (matrix - u.packed); }
DEVICE const real* back_at_hand(const real* matrix) { return weights_at_hand() + u.weights + (matrix - u.packed_back); }

DEVICE void copy_weights(const real* from, int count, real* to) {
  for (int n = 4 * threadIdx.x; n < count; n += 4 * blockDim.x) *(Four*)(to + n) = *(const Four*)(from + n);
}

// Copy what a kernel reads, before its first step.
DEVICE void fetch_weights(bool back) {
  if (!back || !u.kept || DEPTHWISE) copy_weights(u.packed, u.weights, weights_at_hand());
  if (back) copy_weights(u.packed_back, u.weights_back, weights_at_hand() + u.weights);
  SYNC();
}

#else

DEVICE const real* at_hand(const real* matrix) { return matrix; }
DEVICE const real* back_at_hand(const real* matrix) { return matrix; }
DEVICE void fetch_weights(bool back) {}

#endif
