// The parameters in the padded rows that products read, with their transposes; and the sums of their gradients.
//
// `u.tensors` lists the parameters of a step: taps of rows x columns, one after another, which stand in `packed` in
// rows of padded_columns. See `layout.py`.
#pragma once

#include "unroll.h"

DEVICE int size_of(const Tensor& t) { return t.taps * t.rows * t.columns; }

// The place of element n of a tensor in the packed array.
DEVICE int packed_place(const Tensor& t, int n) {
  int tap = n / (t.rows * t.columns), row = n / t.columns % t.rows;
  return t.at + (tap * t.padded_rows + row) * t.padded_columns + n % t.columns;
}

// Copy the parameters into their places. What is between these stays zero.
DEVICE void pack() {
  for (int k = 0; k < u.tensor_count; ++k) {
    const Tensor& t = u.tensors[k];
    for (int n = blockIdx.x * blockDim.x + threadIdx.x; n < size_of(t); n += gridDim.x * blockDim.x) {
      u.packed[packed_place(t, n)] = t.param[n];
      int row = n / (t.rows * t.columns) * t.padded_rows + n / t.columns % t.rows;
      if (t.back >= 0 && u.packed_back) u.packed_back[t.back + n % t.columns * t.back_stride + row] = t.param[n];
    }
  }
}

// The sum of every `stride`-th number, in order; eight loads are under way at a time.
template <class Number>
DEVICE Number strided_sum(const Number* from, int count, int stride) {
  Number sum = 0;
  for (int k = 0; k < count; k += 8) {
    Number some[8];
    for (int l = 0; l < 8; ++l) some[l] = k + l < count ? from[(offset)(k + l) * stride] : 0;
    for (int l = 0; l < 8; ++l) sum += some[l];
  }
  return sum;
}

// The numbers of a linear readout's weight.
DEVICE int readout_size() { return u.readout == LINEAR ? D * u.labels : 0; }

// Fill `gradients`: of the parameters, tensor by tensor, then of a linear readout, then the loss.
KERNEL sum_gradients(int, int, int) {
  int all = u.parameters + (u.losses ? readout_size() + 1 : 0);
  for (int n = blockIdx.x * blockDim.x + threadIdx.x; n < all; n += gridDim.x * blockDim.x) {
    if (n < u.parameters) {
      int k = 0;
      while (n >= u.tensors[k].first + size_of(u.tensors[k])) ++k;
      const real* from = u.weight_grad + packed_place(u.tensors[k], n - u.tensors[k].first);
      u.gradients[n] = strided_sum(from, u.blocks, u.weights);
    } else if (n < u.parameters + readout_size()) {
      u.gradients[n] = strided_sum(u.readout_grad + n - u.parameters, u.loss_blocks, readout_size());
    } else {
      u.gradients[n] = strided_sum(u.losses, u.loss_blocks, 1);
    }
  }
}
