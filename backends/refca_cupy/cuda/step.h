// One step, of a block's rows: look, think, propose, gate, fire. Each function is a phase; where blocks of a team
// read what others wrote, or statistics of others, the team waits between phases.
//
// Source: `spec/chapters/step.md`.

// The mix of a depthwise cell, of the block's share of all pixels.
PHASE void mix(Place me, int i) {
  Range mine = share(cells(), me);
  product<false>(
      mine.to - mine.from, 1, C4, P4, u.perceive,
      [=](int r, int tap) { return u.pixels + corner(i, me.sample, mine.from + r) + tap_pixel(4) * C4; },
      [=](int r, int c, Four sums) { save(mixed(me, mine.from + r, 4) + c, sums); });
  SYNC();
}

DEVICE Four plus(Four x, const real* y) {
  for (int l = 0; l < 4; ++l) x.x[l] += y[l];
  return x;
}

// The sums of the first layer.
PHASE void first_sums(Place me) {
  int rows = u.rows[me.block], used = u.used[me.block];
  if (DEPTHWISE) {
    for (int item = threadIdx.x; item < rows * P4; item += blockDim.x) {
      int p = item % P4, r = used + item / P4, cell = u.cell[slot(me, r)];
      real sum = u.bias[p];
      for (int tap = 0; tap < 9; ++tap) sum += mixed(me, cell, tap)[p] * u.filters[tap * P4 + p];
      felt(me, 0, r)[p] = sum;
    }
  } else {
    product<false>(
        rows, 9, C4, P4, u.perceive, [=](int r, int tap) { return seen(me, used + r, tap); },
        [=](int r, int c, Four sums) { save(felt(me, 0, used + r) + c, plus(sums, u.bias + c)); });
  }
  SYNC();
}

// The sums of layer j+1, from layer j's normalised ones.
PHASE void next_sums(Place me, int j) {
  int rows = u.rows[me.block], used = u.used[me.block];
  product<true>(
      rows, 1, P4, P4, u.hidden + (offset)j * P4 * P4, [=](int r, int tap) { return felt(me, j, used + r); },
      [=](int r, int c, Four sums) {
        save(felt(me, j + 1, used + r) + c, plus(sums, u.bias + (j + 1) * P4 + c));
      });
  SYNC();
}

// The update layer, and beside it the gate's sum.
PHASE void propose(Place me) {
  int rows = u.rows[me.block], used = u.used[me.block];
  product<true>(
      rows, 1, P4, Q4, u.update, [=](int r, int tap) { return felt(me, N, used + r); },
      [=](int r, int c, Four sums) { save(proposal(me, used + r) + c, plus(sums, u.update_bias + c)); });
  SYNC();
}

DEVICE real sigmoid(real x) { return 1 / (1 + exp(-x)); }

// Four channels of row r's candidate at step i: proposal, residual noise, and the state before.
DEVICE Four candidate_of(Place me, int r, int block, int i) {
  int cell = u.cell[slot(me, r)];
  Four x = load(proposal(me, r) + 4 * block);
  if (NOISY) {
    Four noise = normals(NOISE, block, i, me.sample, cell);
    for (int c = 0; c < 4; ++c) x.x[c] += (real)u.sigma * noise.x[c];
  }
  if (RESIDUAL)
    for (int c = 0; c < 4 && 4 * block + c < D; ++c) x.x[c] += state(me, r)[4 * block + c];
  return x;
}

// Gate and fire: the states of the rows that update, in the next grid.
PHASE void fire(Place me, int i) {
  int rows = u.rows[me.block], used = u.used[me.block], across = ROUNDED(D) / 4;
  for (int item = threadIdx.x; item < rows * across; item += blockDim.x) {
    int block = item % across, r = used + item / across, cell = u.cell[slot(me, r)];
    if (!u.updates[slot(me, r)]) continue;
    Four x = candidate_of(me, r, block, i);
    if (RESETTABLE) {
      Four z = normals(RESET, block, i, me.sample, cell);
      real gate = sigmoid(proposal(me, r)[D]);
      for (int c = 0; c < 4; ++c) x.x[c] = gate * z.x[c] + (1 - gate) * x.x[c];
    }
    real* to = u.pixels + corner(i + 1, me.sample, cell) + tap_pixel(4) * C4 + E + 4 * block;
    for (int c = 0; c < 4 && 4 * block + c < D; ++c) to[c] = x.x[c];
  }
}

// The phases of step i in order.
DEVICE void begin_step(Place me, int i) {
  list_rows(me, i, 0, true);
  if (DEPTHWISE) mix(me, i);
}

// Layer j's sums, once layer j-1's statistics are known; and what others need to know of them.
DEVICE void feel(Place me, int i, int j) {
  if (j == 0) {
    first_sums(me);
  } else {
    if (together()) settle_scales(me, i, j - 1);
    normalise(me, i, j - 1);
    next_sums(me, j - 1);
  }
  if (together()) add_moments(me, j);
}

DEVICE void finish_step(Place me, int i) {
  if (together()) settle_scales(me, i, N);
  normalise(me, i, N);
  propose(me);
  fire(me, i);
}
