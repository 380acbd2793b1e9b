// Products by the arithmetic of `real`, for float64 and for GPUs without TF32. Each thread computes tiles of 4×4
// results, so that it uses every number it reads four times. A result is a sum over each tap, then over taps.
#pragma once

template <bool rectify>
DEVICE Four loaded(const real* from) {
  Four x = load(from);
  if (rectify)
    for (int i = 0; i < 4; ++i) x.x[i] = relu(x.x[i]);
  return x;
}

// Add to sums the product of four rows with four columns of a weight (length, columns).
template <bool rectify>
DEVICE void add_tap(int length, int columns, const real* weight, const real* const* from, Four* sums) {
  Four of_tap[4] = {};
  for (int k = 0; k < length; k += 4) {
    Four factor[4];
    for (int j = 0; j < 4; ++j) factor[j] = load(weight + (k + j) * row_stride(columns));
    for (int i = 0; i < 4; ++i) {
      Four x = loaded<rectify>(from[i] + k);
      for (int j = 0; j < 4; ++j)
        for (int l = 0; l < 4; ++l) of_tap[i].x[l] += x.x[j] * factor[j].x[l];
    }
  }
  for (int i = 0; i < 4; ++i)
    for (int l = 0; l < 4; ++l) sums[i].x[l] += of_tap[i].x[l];
}

// store(r, c, sums): columns c to c+3 of row r of Σ_tap row(r, tap) @ weight[tap]; weight (taps, length, columns).
template <bool rectify, class Row, class Store>
DEVICE void product(int rows, int taps, int length, int columns, const real* weight, Row row, Store store) {
  int across = columns / 4, tiles = (rows + 3) / 4 * across;
  for (int tile = threadIdx.x; tile < tiles; tile += blockDim.x) {
    int r = tile / across * 4, c = tile % across * 4;
    Four sums[4] = {};
    for (int tap = 0; tap < taps; ++tap) {
      const real* from[4];
      for (int i = 0; i < 4; ++i) from[i] = row(r + i < rows ? r + i : rows - 1, tap);
      add_tap<rectify>(length, columns, weight + (offset)tap * length * row_stride(columns) + c, from, sums);
    }
    for (int i = 0; i < 4; ++i)
      if (r + i < rows) store(r + i, c, sums[i]);
  }
}

// total (taps, length, columns) += Σ_r row(r, tap).T @ grad(r).
template <bool rectify, class Row, class Grad>
DEVICE void add_outer_products(int rows, int taps, int length, int columns, real* total, Row row, Grad grad) {
  int across = columns / 4, down = length / 4;
  for (int tile = threadIdx.x; tile < taps * down * across; tile += blockDim.x) {
    int c = tile % across * 4, k = tile / across % down * 4, tap = tile / across / down;
    Four sums[4] = {};
    for (int r = 0; r < rows; ++r) {
      Four x = loaded<rectify>(row(r, tap) + k), g = load(grad(r) + c);
      for (int j = 0; j < 4; ++j)
        for (int l = 0; l < 4; ++l) sums[j].x[l] += x.x[j] * g.x[l];
    }
    for (int j = 0; j < 4; ++j) {
      real* to = total + ((offset)tap * length + k + j) * row_stride(columns) + c;
      save(to, plus(sums[j], to));
    }
  }
}
