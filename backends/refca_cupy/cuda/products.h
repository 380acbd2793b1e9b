// Matrix products of a block's rows with weights: on tensor cores (`tensor_products.h`), or plainly
// (`plain_products.h`). `tensor_cores` of `sources.py` says when. Both offer `product` and `add_outer_products`, whose
// results are sums in an order that depends on neither the number of threads nor that of rows.
#pragma once

#include "weights.h"

DEVICE Four load(const real* from) { return *(const Four*)from; }
DEVICE void save(real* to, Four x) { *(Four*)to = x; }
DEVICE Four plus(Four x, const real* y) {
  for (int l = 0; l < 4; ++l) x.x[l] += y[l];
  return x;
}
DEVICE void add_times(Four* sum, Four x, Four y) {
  for (int l = 0; l < 4; ++l) sum->x[l] += x.x[l] * y.x[l];
}
DEVICE real relu(real x) { return x <= 0 ? 0 : x; }  // NaN stays NaN
DEVICE real relu_grad(real grad, real x) { return x <= 0 ? 0 : grad; }

#if TENSOR_CORES
#include "tensor_products.h"
#else
#include "plain_products.h"
#endif

// total (columns,) += Σ_r grad(r).
template <class Grad>
DEVICE void add_rows(int rows, int columns, real* total, Grad grad) {
  for (int c = threadIdx.x; c < columns; c += blockDim.x) {
    real sum = 0;
    for (int r = 0; r < rows; ++r) sum += grad(r)[c];
    total[c] += sum;
  }
}
