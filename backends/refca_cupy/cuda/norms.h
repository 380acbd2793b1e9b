// The norms of a layer's sums, and their gradients: over the channels of a cell, or over cells, where each block adds
// up its rows and, once all have, combines the sums of the others. The sum of a column goes over GROUPS of rows,
// then over groups, then over blocks, always in this order.
//
// Source: `spec/chapters/step.md`, norm; `EPSILON` of `refca/definition/step.py`.
#pragma once

#include "products.h"
#include "rows.h"

// Two numbers for each column: of the groups of a block, and of the blocks of a layer.
DEVICE real* group_sums(Block block, int group) { return u.group_sums + ((offset)block.number * GROUPS + group) * 2 * P4; }
DEVICE real* moments(int number, int j) { return u.moments + ((offset)j * u.blocks + number) * 2 * P4; }
DEVICE real* grad_sums(int number, int j) { return u.grad_sums + ((offset)j * u.blocks + number) * 2 * P4; }
// Mean and 1/deviation of layer j at step i, as far as a way back needs them.
DEVICE real* scales(Block block, int i, int j) {
  offset layer = (offset)(i % u.scaled) * (N + 1) + j;
  return u.scales + (layer * u.b * u.team + block.sample * u.team + block.rank) * 2 * P4;
}

// The blocks whose rows the statistics go over.
DEVICE Range common(Block block) {
  if (NORM == BATCH) return {0, u.blocks};
  return {block.number - block.rank, block.number - block.rank + u.team};
}

// Merge the mean and summed squared distance of `more` numbers into those of `count`.
DEVICE void combine(real count, real* mean, real* squares, real more, real more_mean, real more_squares) {
  if (more == 0) return;
  real delta = more_mean - *mean, share_of_all = more / (count + more);
  *mean += delta * share_of_all;
  *squares += more_squares + delta * delta * count * share_of_all;
}

// The statistics of layer j over the block's rows.
PHASE void add_moments(Block block, int j) {
  int used = at_work(block).from, rows = at_work(block).to - used;
  for (int item = threadIdx.x; item < GROUPS * P4; item += blockDim.x) {
    int p = item % P4, group = item / P4, count = 0;
    real mean = 0, squares = 0;
    for (int r = group; r < rows; r += GROUPS, ++count) mean += preact(block, j, used + r)[p];
    if (count) mean /= count;
    for (int r = group; r < rows; r += GROUPS) {
      real delta = preact(block, j, used + r)[p] - mean;
      squares += delta * delta;
    }
    group_sums(block, group)[p] = mean;
    group_sums(block, group)[P4 + p] = squares;
  }
  SYNC();
  for (int p = threadIdx.x; p < P4; p += blockDim.x) {
    real mean = 0, squares = 0;
    for (int group = 0, count = 0; group < GROUPS; ++group) {
      int more = group < rows ? (rows - group + GROUPS - 1) / GROUPS : 0;
      combine(count, &mean, &squares, more, group_sums(block, group)[p], group_sums(block, group)[P4 + p]);
      count += more;
    }
    moments(block.number, j)[p] = mean;
    moments(block.number, j)[P4 + p] = squares;
  }
}

// Mean and 1/deviation of layer j at step i, from the moments of all blocks.
PHASE void finish_statistics(Block block, int i, int j) {
  Range blocks = common(block);
  for (int p = threadIdx.x; p < P4; p += blockDim.x) {
    real mean = 0, squares = 0, count = 0;
    for (int other = blocks.from; other < blocks.to; ++other) {
      real more = u.rows[other];
      combine(count, &mean, &squares, more, moments(other, j)[p], moments(other, j)[P4 + p]);
      count += more;
    }
    scales(block, i, j)[p] = mean;
    scales(block, i, j)[P4 + p] = 1 / sqrt(squares / count + (real)EPSILON);
  }
  SYNC();
}

// Normalise the sums of layer j at step i, in place.
PHASE void normalise(Block block, int i, int j) {
  int used = at_work(block).from, rows = at_work(block).to - used;
  if (norm_over_cells()) {
    const real* scale = scales(block, i, j);
    for (int item = threadIdx.x; item < (rows + 3) / 4 * (P4 / 4); item += blockDim.x) {
      int p = item % (P4 / 4) * 4, r = used + item / (P4 / 4) * 4, left = used + rows - r, some = left < 4 ? left : 4;
      Four mean = load(scale + p), factor = load(scale + P4 + p), x[4];
      for (int k = 0; k < 4; ++k)
        if (k < some) x[k] = load(preact(block, j, r + k) + p);
      for (int k = 0; k < 4; ++k)
        if (k < some) {
          for (int l = 0; l < 4; ++l) x[k].x[l] = (x[k].x[l] - mean.x[l]) * factor.x[l];
          save(preact(block, j, r + k) + p, x[k]);
        }
    }
    SYNC();
  } else if (NORM == CHANNEL) {
    for (int r = used + threadIdx.x; r < used + rows; r += blockDim.x) {
      real *x = preact(block, j, r), mean = 0, squares = 0;
      for (int p = 0; p < P; ++p) mean += x[p];
      mean /= P;
      for (int p = 0; p < P; ++p) squares += (x[p] - mean) * (x[p] - mean);
      real scale = 1 / sqrt(squares / P + (real)EPSILON);
      for (int p = 0; p < P; ++p) x[p] = (x[p] - mean) * scale;
      *row_scale(block, j, r) = scale;
    }
    SYNC();
  }
}

// Σ grad and Σ grad·preact of layer j over the block's rows.
PHASE void add_grad_sums(Block block, int j) {
  int used = at_work(block).from, rows = at_work(block).to - used;
  for (int item = threadIdx.x; item < GROUPS * P4; item += blockDim.x) {
    int p = item % P4, group = item / P4;
    real total = 0, along = 0;
    for (int r = used + group; r < used + rows; r += GROUPS) {
      real grad = preact_grad(block, j, r)[p];
      total += grad;
      along += grad * preact(block, j, r)[p];
    }
    group_sums(block, group)[p] = total;
    group_sums(block, group)[P4 + p] = along;
  }
  SYNC();
  for (int p = threadIdx.x; p < 2 * P4; p += blockDim.x) {
    real total = 0;
    for (int group = 0; group < GROUPS; ++group) total += group_sums(block, group)[p];
    grad_sums(block.number, j)[p] = total;
  }
}

// The gradient of the sums of layer j, in place of that of their normalised values.
PHASE void normalise_grad(Block block, int i, int j) {
  int used = at_work(block).from, rows = at_work(block).to - used;
  if (norm_over_cells()) {
    Range blocks = common(block);
    real* mean = group_sums(block, 0);
    for (int p = threadIdx.x; p < 2 * P4; p += blockDim.x) {
      real total = 0, count = 0;
      for (int other = blocks.from; other < blocks.to; ++other) {
        total += grad_sums(other, j)[p];
        count += u.rows[other];
      }
      mean[p] = total / count;
    }
    SYNC();
    const real* scale = scales(block, i, j) + P4;
    for (int item = threadIdx.x; item < (rows + 3) / 4 * (P4 / 4); item += blockDim.x) {
      int p = item % (P4 / 4) * 4, r = used + item / (P4 / 4) * 4, left = used + rows - r, some = left < 4 ? left : 4;
      Four factor = load(scale + p), flat = load(mean + p), along = load(mean + P4 + p), grad[4], x[4];
      for (int k = 0; k < 4; ++k)
        if (k < some) grad[k] = load(preact_grad(block, j, r + k) + p), x[k] = load(preact(block, j, r + k) + p);
      for (int k = 0; k < 4; ++k)
        if (k < some) {
          for (int l = 0; l < 4; ++l)
            grad[k].x[l] = factor.x[l] * (grad[k].x[l] - flat.x[l] - x[k].x[l] * along.x[l]);
          save(preact_grad(block, j, r + k) + p, grad[k]);
        }
    }
    SYNC();
  } else if (NORM == CHANNEL) {
    for (int r = used + threadIdx.x; r < used + rows; r += blockDim.x) {
      real *grad = preact_grad(block, j, r), *x = preact(block, j, r), total = 0, along = 0;
      for (int p = 0; p < P; ++p) {
        total += grad[p];
        along += grad[p] * x[p];
      }
      for (int p = 0; p < P; ++p) grad[p] = *row_scale(block, j, r) * (grad[p] - total / P - x[p] * (along / P));
    }
    SYNC();
  }
}
