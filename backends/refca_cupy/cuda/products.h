// Matrix products of a block's rows with weights. Each thread computes tiles of 4×4 results, so that it uses every
// number it reads four times. A result is a sum over each tap, then over taps, in this order, whatever the number
// of threads and rows.
#pragma once

#include "unroll.h"

struct alignas(4 * sizeof(real)) Four {
  real x[4];
};

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

template <bool rectify>
DEVICE Four loaded(const real* from) {
  Four x = load(from);
  if (rectify)
    for (int i = 0; i < 4; ++i) x.x[i] = relu(x.x[i]);
  return x;
}

// Add to sums the product of HEIGHT rows with four columns of a weight (length, columns).
template <bool rectify, int HEIGHT>
DEVICE void add_tap(int length, int columns, const real* weight, const real* const* from, Four* sums) {
  Four of_tap[HEIGHT] = {};
  for (int k = 0; k < length; k += 4) {
    Four factor[4];
    for (int j = 0; j < 4; ++j) factor[j] = load(weight + (k + j) * columns);
    for (int i = 0; i < HEIGHT; ++i) {
      Four x = loaded<rectify>(from[i] + k);
      for (int j = 0; j < 4; ++j)
        for (int l = 0; l < 4; ++l) of_tap[i].x[l] += x.x[j] * factor[j].x[l];
    }
  }
  for (int i = 0; i < HEIGHT; ++i)
    for (int l = 0; l < 4; ++l) sums[i].x[l] += of_tap[i].x[l];
}

constexpr int SPLIT = 32768 / sizeof(Four);  // sums of single taps that fit a block's shared memory

DEVICE Four* sums_of_taps() {
  SHARED(Four, sums, SPLIT);
  return sums;
}

// store(r, c, sums): columns c to c+3 of row r of Σ_tap row(r, tap) @ weight[tap]; weight (taps, length, columns).
// Where rows are few a tile is one row high; where they are very few each thread computes one tap of a tile.
template <bool rectify, class Row, class Store>
DEVICE void product(int rows, int taps, int length, int columns, const real* weight, Row row, Store store) {
  int across = columns / 4, tiles = (rows + 3) / 4 * across;
  if (tiles >= blockDim.x) {
    for (int tile = threadIdx.x; tile < tiles; tile += blockDim.x) {
      int r = tile / across * 4, c = tile % across * 4;
      Four sums[4] = {};
      for (int tap = 0; tap < taps; ++tap) {
        const real* from[4];
        for (int i = 0; i < 4; ++i) from[i] = row(r + i < rows ? r + i : rows - 1, tap);
        add_tap<rectify, 4>(length, columns, weight + (offset)tap * length * columns + c, from, sums);
      }
      for (int i = 0; i < 4; ++i)
        if (r + i < rows) store(r + i, c, sums[i]);
    }
    return;
  }
  tiles = rows * across;
  bool split = taps > 1 && tiles * taps <= SPLIT;
  for (int item = threadIdx.x; item < tiles * (split ? taps : 1); item += blockDim.x) {
    int tile = item % tiles, r = tile / across, c = tile % across * 4;
    Four sums = {};
    for (int tap = item / tiles; tap < (split ? item / tiles + 1 : taps); ++tap) {
      const real* from = row(r, tap);
      add_tap<rectify, 1>(length, columns, weight + (offset)tap * length * columns + c, &from, &sums);
    }
    if (split)
      sums_of_taps()[item] = sums;
    else
      store(r, c, sums);
  }
  if (!split) return;
  SYNC();
  for (int tile = threadIdx.x; tile < tiles; tile += blockDim.x) {
    Four sums = {};
    for (int tap = 0; tap < taps; ++tap)
      for (int l = 0; l < 4; ++l) sums.x[l] += sums_of_taps()[tap * tiles + tile].x[l];
    store(tile / across, tile % across * 4, sums);
  }
  SYNC();
}

// total (taps, length, columns) += Σ_r row(r, tap).T @ grad(r). A thread makes DEEP×4 of the length by 4 columns.
template <bool rectify, int DEEP, class Row, class Grad>
DEVICE void add_outer_products(int rows, int taps, int length, int columns, real* total, Row row, Grad grad) {
  int across = columns / 4, down = (length / 4 + DEEP - 1) / DEEP;
  for (int tile = threadIdx.x; tile < taps * down * across; tile += blockDim.x) {
    int c = tile % across * 4, k = tile / across % down * DEEP * 4, tap = tile / across / down;
    Four sums[4 * DEEP] = {};
    for (int r = 0; r < rows; ++r) {
      const real* from = row(r, tap) + k;
      Four g = load(grad(r) + c);
      for (int d = 0; d < DEEP; ++d) {
        if (k + 4 * d >= length) break;
        Four x = loaded<rectify>(from + 4 * d);
        for (int j = 0; j < 4; ++j)
          for (int l = 0; l < 4; ++l) sums[4 * d + j].x[l] += x.x[j] * g.x[l];
      }
    }
    for (int j = 0; j < 4 * DEEP; ++j) {
      if (k + j >= length) break;
      real* to = total + ((offset)tap * length + k + j) * columns + c;
      Four sum = load(to);
      for (int l = 0; l < 4; ++l) sum.x[l] += sums[j].x[l];
      save(to, sum);
    }
  }
}

// total (columns,) += Σ_r grad(r).
template <class Grad>
DEVICE void add_rows(int rows, int columns, real* total, Grad grad) {
  for (int c = threadIdx.x; c < columns; c += blockDim.x) {
    real sum = 0;
    for (int r = 0; r < rows; ++r) sum += grad(r)[c];
    total[c] += sum;
  }
}
