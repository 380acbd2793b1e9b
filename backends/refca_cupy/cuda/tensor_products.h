// Products on tensor cores, about as exact as float32. Each factor is split into two TF32 numbers of 11 bits, high and
// low; of their four products, low times low is left out, which is at most 2^-22 of a product.
//
// A warp computes tiles of 16 rows by 16 columns in steps of 8 along a sum. In `add_product` a lane holds what the
// instruction mma.m16n8k8 wants of it: with g = lane / 4 and t = lane % 4, of the left factor rows g and g+8 at t
// and t+4, of the right factor column g at t and t+4, and of the result rows g and g+8 in columns 2t and 2t+1. As
// a sum may go in any order, and two columns can change places, the numbers at 2t and 2t+1 of a step stand for t and
// t+4 here, and columns 2g and 2g+1 of 16 for column g of two instructions. So every load is of two neighbours, four
// lanes read 32 bytes that follow each other, and a lane's results are four columns that do.
//
// No factor is staged in shared memory: a tile of 16×48 needs 8 loads of 256 bytes for 18 instructions, half of what
// the first-level cache can deliver in the time these take, by a model; rows of weights begin in different banks.
#pragma once

struct alignas(2 * sizeof(real)) Two {
  real x[2];
};

template <bool rectify>
DEVICE Two load_two(const real* from) {
  Two x = *(const Two*)from;
  if (rectify)
    for (int i = 0; i < 2; ++i) x.x[i] = relu(x.x[i]);
  return x;
}

// A number as a sum of two TF32 numbers. `high` is rounded to the nearest, so that errors of products do not add up; what
// is too low for `low` is cut off by the instruction.
DEVICE Split split(float x) {
  float high = of_bits((bits_of(x) + TF32_HALF) & TF32);
  return {high, x - high};
}

constexpr int WIDE = 3;    // tiles next to each other, where there are many
constexpr int SPLIT = STATES_AT_HAND ? 24 : 32;  // tiles of which each term fits a block's shared memory

// Tensor cores round sums towards zero, so that errors add up. Therefore a sum consists of terms, each computed apart:
constexpr int TERM_TAPS = 3;     // as many taps, where there are several,
constexpr int TERM_LENGTH = 24;  // else as many numbers of the tap,
constexpr int TERM_ROWS = 64;    // or as many rows

DEVICE int lane() { return threadIdx.x % WARP; }
DEVICE int warp() { return threadIdx.x / WARP; }
DEVICE int warps() { return blockDim.x / WARP; }

// A lane's results of `wide` tiles.
template <int wide>
struct Sums {
  float x[2 * wide][4] = {};
};

template <int wide>
DEVICE void add(Sums<wide>* sums, const Sums<wide>& more) {
  for (int n = 0; n < 2 * wide; ++n)
    for (int l = 0; l < 4; ++l) sums->x[n][l] += more.x[n][l];
}

// Columns 4t to 4t+3 of tile n in the lane's upper row, or its lower one.
template <int wide>
DEVICE Four quad(const Sums<wide>& sums, int n, int lower) {
  const float *even = sums.x[2 * n] + 2 * lower, *odd = sums.x[2 * n + 1] + 2 * lower;
  return {{even[0], odd[0], even[1], odd[1]}};
}

// A lane's numbers of the left factor of a step.
struct Left {
  Split x[4];
};

// Add eight products of a left factor with two rows of a right factor, which begin at a tile's first column c.
template <int wide>
DEVICE void add_step(Sums<wide>* sums, Left left, const real* first, const real* second, int c, int columns) {
  int mine = lane() / 4 * 2;
#pragma unroll
  for (int n = 0; n < wide; ++n) {
    if (c + 16 * n >= columns) break;
    int at = 16 * n + (columns % 16 && c + 16 * n + mine >= columns ? 0 : mine);  // no result is beyond the last column
    Two x = load_two<false>(first + at), y = load_two<false>(second + at);
    for (int l = 0; l < 2; ++l) {
      Split right[2] = {split(x.x[l]), split(y.x[l])};
      add_product(sums->x[2 * n + l], left.x, right);
    }
  }
}

DEVICE Left left_factor(float a0, float a1, float a2, float a3) { return {{split(a0), split(a1), split(a2), split(a3)}}; }

DEVICE int terms_of(int taps, int length) {
  return taps > 1 ? (taps + TERM_TAPS - 1) / TERM_TAPS : (length + TERM_LENGTH - 1) / TERM_LENGTH;
}

DEVICE int least(int x, int y) { return x < y ? x : y; }

// One term of a product, of the tile at row r and column c.
template <bool rectify, int wide, class Row>
DEVICE Sums<wide> term(
    int number, int r, int c, int rows, int taps, int length, int columns, const real* weight, Row row) {
  Sums<wide> sums;
  int upper = least(r + lane() / 4, rows - 1), lower = least(r + lane() / 4 + 8, rows - 1), t = lane() % 4;
  int from = taps > 1 ? 0 : number * TERM_LENGTH, to = taps > 1 ? length : least(length, from + TERM_LENGTH);
  int first = taps > 1 ? number * TERM_TAPS : 0, last = least(taps, first + TERM_TAPS);
  for (int tap = first; tap < last; ++tap) {
    const real *one = row(upper, tap) + from + 2 * t, *other = row(lower, tap) + from + 2 * t;
    int stride = row_stride(columns);
    const real* factors = weight + (tap * length + from + 2 * t) * stride + c;
    int left = to - from;
    for (; left >= 8; left -= 8, one += 8, other += 8, factors += 8 * stride) {
      Two x = load_two<rectify>(one), y = load_two<rectify>(other);
      add_step(&sums, left_factor(x.x[0], y.x[0], x.x[1], y.x[1]), factors, factors + stride, c, columns);
    }
    if (left) {  // four more
      Two x = {}, y = {};
      if (t < 2) x = load_two<rectify>(one), y = load_two<rectify>(other);
      if (t >= 2) factors -= 4 * stride;  // which is multiplied with zero
      add_step(&sums, left_factor(x.x[0], y.x[0], x.x[1], y.x[1]), factors, factors + stride, c, columns);
    }
  }
  return sums;
}

DEVICE Four* sums_of_terms() {
  SHARED(Four, sums, SPLIT * 2 * WARP);
  return sums;
}

// The tiles of a product, `wide` next to each other, which a warp computes one after another; or if they are split,
// each term of a tile apart, which goes to shared memory.
template <bool rectify, int wide, class Row, class Store>
DEVICE void tiles(
    bool split_up, int rows, int taps, int length, int columns, const real* weight, Row row, Store store) {
  int across = (columns + 16 * wide - 1) / (16 * wide), all = (rows + 15) / 16 * across;
  int terms = terms_of(taps, length), upper = lane() / 4;
  for (int item = warp(); item < all * (split_up ? terms : 1); item += warps()) {
    int r = item % all / across * 16, c = item % all % across * 16 * wide, first = split_up ? item / all : 0;
    Sums<wide> sums;
    for (int number = first; number < (split_up ? first + 1 : terms); ++number)
      add(&sums, term<rectify, wide>(number, r, c, rows, taps, length, columns, weight, row));
    for (int n = 0; n < wide; ++n)
      for (int lower = 0; lower < 2; ++lower) {
        int at = r + upper + 8 * lower, column = c + 16 * n + lane() % 4 * 4;
        if (split_up)
          sums_of_terms()[(item * 2 + lower) * WARP + lane()] = quad(sums, n, lower);
        else if (at < rows && column < columns)
          store(at, column, quad(sums, n, lower));
      }
  }
}

// store(r, c, sums): columns c to c+3 of row r of Σ_tap row(r, tap) @ weight[tap]; weight (taps, length, columns).
// Where there are few tiles, warps share them: first in width, then term by term.
template <bool rectify, class Row, class Store>
DEVICE void product(int rows, int taps, int length, int columns, const real* weight, Row row, Store store) {
  int down = (rows + 15) / 16, across = (columns + 15) / 16, all = down * across, terms = terms_of(taps, length);
  if (down * ((across + WIDE - 1) / WIDE) >= 2 * warps())
    return tiles<rectify, WIDE>(false, rows, taps, length, columns, weight, row, store);
  bool split_up = terms > 1 && all < 2 * warps() && all * terms <= SPLIT;
  tiles<rectify, 1>(split_up, rows, taps, length, columns, weight, row, store);
  if (!split_up) return;
  SYNC();
  for (int item = threadIdx.x; item < all * 2 * WARP; item += blockDim.x) {
    int tile = item / (2 * WARP), lower = item / WARP % 2, number = item % WARP;
    int r = tile / across * 16 + number / 4 + 8 * lower, c = tile % across * 16 + number % 4 * 4;
    Four sum = {};
    for (int k = 0; k < terms; ++k) sum = plus(sum, sums_of_terms()[k * all * 2 * WARP + item].x);
    if (r < rows && c < columns) store(r, c, sum);
  }
  SYNC();
}

// Add the products of rows to tiles at element m of taps·length and column c.
template <bool rectify, int wide, class Row, class Grad>
DEVICE void add_outer_tiles(
    int rows, int taps, int length, int columns, real* total, Row row, Grad grad) {
  int across = (columns + 16 * wide - 1) / (16 * wide), down = (taps * length + 15) / 16;
  for (int item = warp(); item < down * across; item += warps()) {
    int m = item / across * 16 + lane() / 4 * 2, c = item % across * 16 * wide;
    bool inside = m < taps * length;
    int tap = inside ? m / length : 0, k = inside ? m % length : 0;
    Sums<wide> sums;
    for (int first = 0; first < rows; first += TERM_ROWS) {
      Sums<wide> of_term;
      int last = least(rows, first + TERM_ROWS);
      for (int r = first; r < last; r += 8) {
        int one = r + lane() % 4 * 2, other = one + 1;
        Two x = {}, y = {};
        if (one < last) x = load_two<rectify>(row(one, tap) + k);
        if (other < last) y = load_two<rectify>(row(other, tap) + k);
        const real *first_grad = grad(least(one, last - 1)) + c, *second_grad = grad(least(other, last - 1)) + c;
        add_step(&of_term, left_factor(x.x[0], x.x[1], y.x[0], y.x[1]), first_grad, second_grad, c, columns);
      }
      add(&sums, of_term);
    }
    for (int n = 0; n < wide; ++n)
      for (int lower = 0; lower < 2; ++lower) {
        int column = c + 16 * n + lane() % 4 * 4;
        real* to = total + (offset)(m + lower) * row_stride(columns) + column;
        if (inside && column < columns) save(to, plus(quad(sums, n, lower), to));
      }
  }
}

// total (taps, length, columns) += Σ_r row(r, tap).T @ grad(r).
template <bool rectify, class Row, class Grad>
DEVICE void add_outer_products(int rows, int taps, int length, int columns, real* total, Row row, Grad grad) {
  int down = (taps * length + 15) / 16, across = (columns + 16 * WIDE - 1) / (16 * WIDE);
  if (down * across >= 2 * warps())
    add_outer_tiles<rectify, WIDE>(rows, taps, length, columns, total, row, grad);
  else
    add_outer_tiles<rectify, 1>(rows, taps, length, columns, total, row, grad);
}
