// One step, of a block's rows: perceive, hidden layers, propose, gate, reset, fire. Each PHASE ends where blocks of
// a team read what others wrote, or statistics of others: there the team waits.
//
// Source: `spec/chapters/step.md`.
#pragma once

#include "norms.h"

// The mix of a depthwise cell, of the block's share of all pixels.
PHASE void mix(Block block, int i) {
  Range mine = share(cells(), block);
  product<false>(
      mine.to - mine.from, 1, C4, P4, at_hand(u.perceive),
      [=](int r, int tap) { return u.pixels + corner(i, block.sample, mine.from + r) + tap_pixel(4) * C4; },
      [=](int r, int c, Four sums) {
        save(u.mixed + ((offset)padded(block.sample, mine.from + r) + tap_pixel(4)) * P4 + c, sums);
      });
  SYNC();
}

// Call each(r, p, filters) for all rows and all quads of channels p of a depthwise cell. A thread keeps its nine
// filters for all its rows.
template <class Each>
DEVICE void filter_rows(int rows, Each each) {
  int across = P4 / 4, down = blockDim.x > across ? blockDim.x / across : 1;
  for (int item = threadIdx.x; item < across * down; item += blockDim.x) {
    int p = item % across * 4;
    Four filters[9];
    for (int tap = 0; tap < 9; ++tap) filters[tap] = load(u.filters + tap * P4 + p);
    for (int r = item / across; r < rows; r += down) each(r, p, filters);
  }
}

// The sums of the first layer, from the neighbourhoods.
PHASE void perceive(Block block) {
  int used = at_work(block).from, rows = at_work(block).to - used;
  if (DEPTHWISE) {
    filter_rows(rows, [=](int r, int p, const Four* filters) {
      const real* from = mixed(block, used + r, 0) + p;
      Four sum = load(u.bias + p), x[9];
      for (int tap = 0; tap < 9; ++tap) x[tap] = load(from + tap_pixel(tap) * P4);
      for (int tap = 0; tap < 9; ++tap) add_times(&sum, x[tap], filters[tap]);
      save(preact(block, 0, used + r) + p, sum);
    });
  } else {
    product<false>(
        rows, 9, C4, P4, at_hand(u.perceive), [=](int r, int tap) { return seen(block, used + r, tap); },
        [=](int r, int c, Four sums) { save(preact(block, 0, used + r) + c, plus(sums, u.bias + c)); });
  }
  SYNC();
}

// The sums of layer j+1, from the normalised sums of layer j.
PHASE void hidden_layer(Block block, int j) {
  int used = at_work(block).from, rows = at_work(block).to - used;
  product<true>(
      rows, 1, P4, P4, at_hand(u.hidden) + (offset)j * P4 * row_stride(P4), [=](int r, int tap) { return preact(block, j, used + r); },
      [=](int r, int c, Four sums) {
        save(preact(block, j + 1, used + r) + c, plus(sums, u.bias + (j + 1) * P4 + c));
      });
  SYNC();
}

// The update layer, and in column D the sum of the gate.
PHASE void propose(Block block) {
  int used = at_work(block).from, rows = at_work(block).to - used;
  product<true>(
      rows, 1, P4, Q4, at_hand(u.update), [=](int r, int tap) { return preact(block, N, used + r); },
      [=](int r, int c, Four sums) { save(proposal(block, used + r) + c, plus(sums, u.update_bias + c)); });
  SYNC();
}

// Four channels of row r's candidate at step i: the proposal, residual noise, and the state before.
DEVICE Four candidate(Block block, int r, int quad, int i, const real* state) {
  Four x = load(proposal(block, r) + 4 * quad);
  if (NOISY) {
    Four noise = normals(NOISE, quad, i, block.sample, site_of(block, r));
    for (int c = 0; c < 4; ++c) x.x[c] += (real)u.sigma * noise.x[c];
  }
  if (RESIDUAL)
    for (int c = 0; c < 4 && 4 * quad + c < D; ++c) x.x[c] += state[4 * quad + c];
  return x;
}

DEVICE real sigmoid(real x) { return 1 / (1 + exp(-x)); }

// How far row r resets its cell, 0 to 1.
DEVICE real gate(Block block, int r) { return sigmoid(proposal(block, r)[D]); }

// Four channels of a candidate, replaced by noise as far as the gate is open.
DEVICE Four reset(real gate, Four noise, Four candidate) {
  for (int c = 0; c < 4; ++c) candidate.x[c] = gate * noise.x[c] + (1 - gate) * candidate.x[c];
  return candidate;
}

// Gate, reset and fire: the states of the rows that update, in the next grid.
PHASE void fire(Block block, int i) {
  int used = at_work(block).from, rows = at_work(block).to - used, across = ROUNDED(D) / 4;
  for (int item = threadIdx.x; item < rows * across; item += blockDim.x) {
    int quad = item % across, r = used + item / across, site = site_of(block, r);
    if (!updates(block, r)) continue;
    Four x = candidate(block, r, quad, i, seen(block, r, 4) + E);
    if (RESETTABLE) x = reset(gate(block, r), normals(RESET, quad, i, block.sample, site), x);
    real* to = u.pixels + corner(i + 1, block.sample, site) + tap_pixel(4) * C4 + E + 4 * quad;
    for (int c = 0; c < 4 && 4 * quad + c < D; ++c) to[c] = x.x[c];
    put_new_state(r, quad, x);
  }
}

// The three parts of step i, between which a team waits.

DEVICE void begin_step(Block block, int i) {
  bool first = i == 0 && block.sample == block.number / u.team;
  int used = u.kept && !first ? u.used[block.number] + u.rows[block.number] : 0;
  SYNC();  // all have read how many slots were in use
  if (u.kept && threadIdx.x == 0) *start(block, i) = used;
  list_rows(block, i, used, true);
  if (DEPTHWISE) mix(block, i);
}

// The sums of layer j, from the statistics of layer j-1; and the block's part of the statistics of layer j.
DEVICE void layer(Block block, int i, int j) {
  if (j == 0) {
    perceive(block);
  } else {
    if (norm_over_cells()) finish_statistics(block, i, j - 1);
    normalise(block, i, j - 1);
    hidden_layer(block, j - 1);
  }
  if (norm_over_cells()) add_moments(block, j);
}

DEVICE void update_states(Block block, int i) {
  if (norm_over_cells()) finish_statistics(block, i, N);
  normalise(block, i, N);
  propose(block);
  fire(block, i);
}
