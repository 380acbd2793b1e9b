// The norms of a layer's sums, forwards and backwards: over a cell's own channels, or over cells, where each
// block adds up its rows and, once all have, takes what it needs of the others. A column's sum goes over GROUPS
// of rows, then over groups, then over blocks, always in this order.
//
// Source: `spec/chapters/step.md`, norm; `EPSILON` of `refca/step.py`.

// Two numbers for each column: `part` of the groups of a block, `moments` and `sums` of the blocks of a layer.
DEVICE real* part(Place me, int group) { return u.part + ((offset)me.block * GROUPS + group) * 2 * P4; }
DEVICE real* moments(int block, int j) { return u.moments + ((offset)j * u.blocks + block) * 2 * P4; }
DEVICE real* sums(int block, int j) { return u.sums + ((offset)j * u.blocks + block) * 2 * P4; }
// Mean and 1/deviation of layer j at step i, as far as a way back needs them.
DEVICE real* scales(Place me, int i, int j) {
  offset layer = (offset)(i % u.scaled) * (N + 1) + j;
  return u.scales + (layer * u.b * u.team + me.sample * u.team + me.rank) * 2 * P4;
}

// The blocks over whose rows statistics go.
DEVICE Range common(Place me) {
  if (NORM == BATCH) return {0, u.blocks};
  return {me.block - me.rank, me.block - me.rank + u.team};
}

// Take mean and summed squared distance of `more` numbers into those of `count`.
DEVICE void combine(real count, real* mean, real* squares, real more, real its_mean, real its_squares) {
  if (more == 0) return;
  real apart = its_mean - *mean, part_of_all = more / (count + more);
  *mean += apart * part_of_all;
  *squares += its_squares + apart * apart * count * part_of_all;
}

// The statistics of layer j over the block's rows.
PHASE void add_moments(Place me, int j) {
  int rows = u.rows[me.block], used = u.used[me.block];
  for (int item = threadIdx.x; item < GROUPS * P4; item += blockDim.x) {
    int p = item % P4, group = item / P4, count = 0;
    real mean = 0, squares = 0;
    for (int r = group; r < rows; r += GROUPS, ++count) mean += felt(me, j, used + r)[p];
    if (count) mean /= count;
    for (int r = group; r < rows; r += GROUPS) {
      real apart = felt(me, j, used + r)[p] - mean;
      squares += apart * apart;
    }
    part(me, group)[p] = mean;
    part(me, group)[P4 + p] = squares;
  }
  SYNC();
  for (int p = threadIdx.x; p < P4; p += blockDim.x) {
    real mean = 0, squares = 0;
    for (int group = 0, count = 0; group < GROUPS; ++group) {
      int more = group < rows ? (rows - group + GROUPS - 1) / GROUPS : 0;
      combine(count, &mean, &squares, more, part(me, group)[p], part(me, group)[P4 + p]);
      count += more;
    }
    moments(me.block, j)[p] = mean;
    moments(me.block, j)[P4 + p] = squares;
  }
}

// Mean and 1/deviation of layer j at step i, from the moments of all blocks.
PHASE void settle_scales(Place me, int i, int j) {
  Range blocks = common(me);
  for (int p = threadIdx.x; p < P4; p += blockDim.x) {
    real mean = 0, squares = 0, count = 0;
    for (int block = blocks.from; block < blocks.to; ++block) {
      real more = u.rows[block];
      combine(count, &mean, &squares, more, moments(block, j)[p], moments(block, j)[P4 + p]);
      count += more;
    }
    scales(me, i, j)[p] = mean;
    scales(me, i, j)[P4 + p] = 1 / sqrt(squares / count + (real)EPSILON);
  }
  SYNC();
}

// Normalise the sums of layer j at step i, in place.
PHASE void normalise(Place me, int i, int j) {
  int rows = u.rows[me.block], used = u.used[me.block];
  if (together()) {
    const real* scale = scales(me, i, j);
    for (int item = threadIdx.x; item < (rows + 3) / 4 * (P4 / 4); item += blockDim.x) {
      int p = item % (P4 / 4) * 4, r = used + item / (P4 / 4) * 4, left = used + rows - r, some = left < 4 ? left : 4;
      Four mean = load(scale + p), factor = load(scale + P4 + p), x[4];
      for (int k = 0; k < 4; ++k)
        if (k < some) x[k] = load(felt(me, j, r + k) + p);
      for (int k = 0; k < 4; ++k)
        if (k < some) {
          for (int l = 0; l < 4; ++l) x[k].x[l] = (x[k].x[l] - mean.x[l]) * factor.x[l];
          save(felt(me, j, r + k) + p, x[k]);
        }
    }
    SYNC();
  } else if (NORM == CHANNEL) {
    for (int r = used + threadIdx.x; r < used + rows; r += blockDim.x) {
      real *x = felt(me, j, r), mean = 0, squares = 0;
      for (int p = 0; p < P; ++p) mean += x[p];
      mean /= P;
      for (int p = 0; p < P; ++p) squares += (x[p] - mean) * (x[p] - mean);
      real scale = 1 / sqrt(squares / P + (real)EPSILON);
      for (int p = 0; p < P; ++p) x[p] = (x[p] - mean) * scale;
      *row_scale(me, j, r) = scale;
    }
    SYNC();
  }
}

// Σ grad and Σ grad·felt of layer j over the block's rows.
PHASE void add_sums(Place me, int j) {
  int rows = u.rows[me.block], used = u.used[me.block];
  for (int item = threadIdx.x; item < GROUPS * P4; item += blockDim.x) {
    int p = item % P4, group = item / P4;
    real total = 0, along = 0;
    for (int r = used + group; r < used + rows; r += GROUPS) {
      real grad = felt_grad(me, j, r)[p];
      total += grad;
      along += grad * felt(me, j, r)[p];
    }
    part(me, group)[p] = total;
    part(me, group)[P4 + p] = along;
  }
  SYNC();
  for (int p = threadIdx.x; p < 2 * P4; p += blockDim.x) {
    real total = 0;
    for (int group = 0; group < GROUPS; ++group) total += part(me, group)[p];
    sums(me.block, j)[p] = total;
  }
}

// From the gradient of layer j's normalised values to that of its sums, in place.
PHASE void normalise_grad(Place me, int i, int j) {
  int rows = u.rows[me.block], used = u.used[me.block];
  if (together()) {
    Range blocks = common(me);
    real* mean = part(me, 0);
    for (int p = threadIdx.x; p < 2 * P4; p += blockDim.x) {
      real total = 0, count = 0;
      for (int block = blocks.from; block < blocks.to; ++block) {
        total += sums(block, j)[p];
        count += u.rows[block];
      }
      mean[p] = total / count;
    }
    SYNC();
    const real* scale = scales(me, i, j) + P4;
    for (int item = threadIdx.x; item < (rows + 3) / 4 * (P4 / 4); item += blockDim.x) {
      int p = item % (P4 / 4) * 4, r = used + item / (P4 / 4) * 4, left = used + rows - r, some = left < 4 ? left : 4;
      Four factor = load(scale + p), flat = load(mean + p), along = load(mean + P4 + p), grad[4], x[4];
      for (int k = 0; k < 4; ++k)
        if (k < some) grad[k] = load(felt_grad(me, j, r + k) + p), x[k] = load(felt(me, j, r + k) + p);
      for (int k = 0; k < 4; ++k)
        if (k < some) {
          for (int l = 0; l < 4; ++l)
            grad[k].x[l] = factor.x[l] * (grad[k].x[l] - flat.x[l] - x[k].x[l] * along.x[l]);
          save(felt_grad(me, j, r + k) + p, grad[k]);
        }
    }
    SYNC();
  } else if (NORM == CHANNEL) {
    for (int r = used + threadIdx.x; r < used + rows; r += blockDim.x) {
      real *grad = felt_grad(me, j, r), *x = felt(me, j, r), total = 0, along = 0;
      for (int p = 0; p < P; ++p) {
        total += grad[p];
        along += grad[p] * x[p];
      }
      for (int p = 0; p < P; ++p) grad[p] = *row_scale(me, j, r) * (grad[p] - total / P - x[p] * (along / P));
    }
    SYNC();
  }
}
