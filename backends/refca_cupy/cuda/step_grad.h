// The gradient of one step, of a block's rows. `grad` is the gradient of the loss with respect to the pixels after
// the step that is undone next: E + D numbers a cell, which only live cells need unless the environment's gradient
// is wanted.
//
// Where slots are not kept, layers are computed again from the pixels, which always are. The gradients of weights
// are added up from the slots at the end of a sample, or when these are full, into an array of the block's own.
//
// Source: derivatives of `spec/chapters/step.md`; the derivative of relu at 0 is 0.
#pragma once

#include "step.h"

DEVICE real* grad_of(Block block, int site) { return u.grad + ((offset)block.sample * cells() + site) * C4; }

// A block's own gradients of the weights, one array after another in the order of `layout.py`.
struct WeightGrads {
  real *perceive, *filters, *hidden, *bias, *update, *update_bias;
};

DEVICE WeightGrads weight_grads(Block block) {
  WeightGrads w;
  w.perceive = u.weight_grad + (offset)block.number * u.weights;
  w.filters = w.perceive + (DEPTHWISE ? 1 : 9) * C4 * row_stride(P4);
  w.hidden = w.filters + (DEPTHWISE ? 9 * P4 : 0);
  w.bias = w.hidden + (offset)N * P4 * row_stride(P4);
  w.update = w.bias + (N + 1) * P4;
  w.update_bias = w.update + P4 * row_stride(Q4);
  return w;
}

// Add the gradients of the weights over slots.
PHASE void add_weight_grads(Block block, Range slots) {
  WeightGrads w = weight_grads(block);
  int rows = slots.to - slots.from;
  auto grad_at = [=](int j) { return [=](int r) { return kept_preact_grad(block, j, slots.from + r); }; };
  auto preact_at = [=](int j) { return [=](int r, int tap) { return kept_preact(block, j, slots.from + r); }; };
  auto proposed = [=](int r) { return kept_proposal_grad(block, slots.from + r); };
  if (!DEPTHWISE && !u.frozen)
    add_outer_products<false>(
        rows, 9, C4, P4, w.perceive, [=](int r, int tap) { return neighbourhood(block, slots.from + r, tap); },
        grad_at(0));
  for (int j = 1; j <= N; ++j)
    add_outer_products<true>(rows, 1, P4, P4, w.hidden + (offset)(j - 1) * P4 * row_stride(P4), preact_at(j - 1), grad_at(j));
  add_outer_products<true>(rows, 1, P4, Q4, w.update, preact_at(N), proposed);
  if (u.biased) {
    for (int j = 0; j <= N; ++j) add_rows(rows, P4, w.bias + j * P4, grad_at(j));
    add_rows(rows, Q4, w.update_bias, proposed);
  }
}

// Add the gradients of the weights over the slots that are left after the last step of a sample.
DEVICE void finish_weight_grads(Block block) {
  if (u.kept)
    add_weight_grads(block, {*start(block, 0), u.ends[block.number]});
  else
    add_weight_grads(block, {0, u.used[block.number] + u.rows[block.number]});
}

// Add the gradient of the loss after step i, and list the rows of step i: in their slots if these are kept, else
// in the slots behind those in use.
PHASE void list_rows_grad(Block block, int i) {
  Range mine = possible_rows(block);
  bool last = i == u.steps - 1;
  int index = u.loss_index[i], b = block.sample;
  int used = u.kept ? *start(block, i) : last ? 0 : u.used[block.number] + u.rows[block.number];
  if (index >= 0)
    for (int item = threadIdx.x; item < (mine.to - mine.from) * D; item += blockDim.x) {
      int site = possible_site(block, mine.from + item / D), d = item % D;
      grad_of(block, site)[E + d] += u.state_grad[(((offset)index * u.b + b) * cells() + site) * D + d];
    }
  if (!u.kept && used + mine.to - mine.from > u.slots) {
    add_weight_grads(block, {0, used});
    used = 0;
  }
  SYNC();  // all have read how many slots were in use
  list_rows(block, i, used, false);
  if (last && threadIdx.x == 0) u.ends[block.number] = used + u.rows[block.number];
}

// The gradient of fire for a cell without a reset gate: of proposals, and of the states before, as far as it goes
// straight back.
DEVICE void fire_grad_alone(Block block) {
  int used = at_work(block).from, rows = at_work(block).to - used;
  for (int item = threadIdx.x; item < rows * (Q4 / 4); item += blockDim.x) {
    int q = item % (Q4 / 4) * 4, r = used + item / (Q4 / 4);
    bool updated = updates(block, r);
    real *grad = grad_of(block, site_of(block, r)) + E + q, from[4];
    Four to = {};
    for (int l = 0; l < 4; ++l) from[l] = updated && q + l < D ? grad[l] : 0;
    for (int l = 0; l < 4; ++l) to.x[l] = from[l];
    save(proposal_grad(block, r) + q, to);
    if (updated && !RESIDUAL)
      for (int l = 0; l < 4 && q + l < D; ++l) grad[l] = 0;
  }
}

// The gradient of fire, reset and gate.
DEVICE void reset_grad(Block block, int i) {
  int used = at_work(block).from, rows = at_work(block).to - used;
  for (int r = used + threadIdx.x; r < used + rows; r += blockDim.x) {
    int site = site_of(block, r);
    real *to = proposal_grad(block, r), *grad = grad_of(block, site) + E, kept = 1, gate_grad = 0;
    const real* state = neighbourhood(block, slot_of(r), 4) + E;
    bool updated = updates(block, r);
    if (updated) {
      real open = gate(block, r);
      for (int quad = 0; quad < ROUNDED(D) / 4; ++quad) {
        Four x = candidate(block, r, quad, i, state), noise = normals(RESET, quad, i, block.sample, site);
        for (int c = 0; c < 4 && 4 * quad + c < D; ++c) gate_grad += grad[4 * quad + c] * (noise.x[c] - x.x[c]);
      }
      gate_grad *= open * (1 - open);
      kept = 1 - open;
    }
    for (int q = 0; q < Q4; ++q) to[q] = updated && q < D ? kept * grad[q] : 0;
    to[D] = gate_grad;
    if (!updated) continue;
    for (int d = 0; d < D; ++d) grad[d] = RESIDUAL ? to[d] : 0;
  }
}

PHASE void fire_grad(Block block, int i) {
  if (RESETTABLE)
    reset_grad(block, i);
  else
    fire_grad_alone(block);
  SYNC();
}

// The layers of step i once more, up to the proposals.
PHASE void recompute(Block block, int i) {
  perceive(block);
  for (int j = 0; j <= N; ++j) {
    normalise(block, i, j);
    if (j < N) hidden_layer(block, j);
  }
  if (RESETTABLE) propose(block);
}

// The gradient of a layer's normalised sums: a product of `from` with the layer's transposed weights, through relu.
template <class From>
DEVICE void product_grad(Block block, int length, const real* transposed, int j, From from) {
  int used = at_work(block).from, rows = at_work(block).to - used;
  product<false>(
      rows, 1, length, P4, transposed, [=](int r, int tap) { return from(used + r); },
      [=](int r, int c, Four sums) {
        for (int l = 0; l < 4; ++l) sums.x[l] = relu_grad(sums.x[l], preact(block, j, used + r)[c + l]);
        save(preact_grad(block, j, used + r) + c, sums);
      });
  SYNC();
  if (norm_over_cells()) add_grad_sums(block, j);
}

PHASE void propose_grad(Block block) {
  product_grad(block, Q4, back_at_hand(u.update_back), N, [=](int r) { return proposal_grad(block, r); });
}

PHASE void hidden_layer_grad(Block block, int j) {
  const real* transposed = back_at_hand(u.hidden_back) + (offset)(j - 1) * P4 * row_stride(P4);
  product_grad(block, P4, transposed, j - 1, [=](int r) { return preact_grad(block, j, r); });
}

// The gradient of neighbourhoods, and of a depthwise cell that of its filters.
PHASE void perceive_grad(Block block, int i) {
  int used = at_work(block).from, rows = at_work(block).to - used;
  if (!DEPTHWISE) {
    if (i == 0 && !u.to_environment) return;
    int first = slot_of(used) - u.used[block.number];  // its place among this step's rows
    product<false>(
        rows, 1, P4, 9 * C4, back_at_hand(u.perceive_back), [=](int r, int tap) { return preact_grad(block, 0, used + r); },
        [=](int r, int c, Four sums) {
          save(u.seen_grad + source(block, used + r, first + r) * (offset)(9 * C4) + c, sums);
        });
    SYNC();
  } else if (!u.frozen) {
    real *sums = u.filter_sums + (offset)block.number * GROUPS * 9 * P4, *filters = weight_grads(block).filters;
    for (int item = threadIdx.x; item < GROUPS * 9 * (P4 / 4); item += blockDim.x) {
      int p = item % (P4 / 4) * 4, tap = item / (P4 / 4) % 9, group = item / (P4 / 4) / 9;
      Four sum = {};
      for (int r = used + group; r < used + rows; r += GROUPS)
        add_times(&sum, load(preact_grad(block, 0, r) + p), load(mixed(block, r, tap) + p));
      save(sums + (group * 9 + tap) * P4 + p, sum);
    }
    SYNC();
    for (int item = threadIdx.x; item < 9 * P4; item += blockDim.x) {
      real sum = 0;
      for (int group = 0; group < GROUPS; ++group) sum += sums[group * 9 * P4 + item];
      filters[item] += sum;
    }
  }
}

// The `source` of the cell that sees `site` at this tap, from which a gradient comes back; -1 if it is no row.
DEVICE int backward_source(Block block, int site, int tap) {
  int y = site / u.w - (tap / 3 - 1), x = site % u.w - (tap % 3 - 1);
  if (y < 0 || y >= u.h || x < 0 || x >= u.w) return -1;
  return u.source_of[(offset)block.sample * cells() + y * u.w + x];
}

// Each cell gathers the gradients of the neighbourhoods that it is part of.
PHASE void neighbourhood_grad(Block block, int i) {
  bool to_pixels = i > 0 || u.to_environment;
  bool everywhere = u.to_environment || DEPTHWISE;
  Range mine = everywhere ? share(cells(), block) : possible_rows(block);
  int count = mine.to - mine.from;
  auto site = [=](int k) { return everywhere ? mine.from + k : possible_site(block, mine.from + k); };
  auto add = [=](int k, int c, Four sums) {
    real* to = grad_of(block, site(k)) + c;
    save(to, plus(sums, to));
  };
  if (!DEPTHWISE) {
    if (to_pixels)
      for (int item = threadIdx.x; item < count * (C4 / 4); item += blockDim.x) {
        int c = item % (C4 / 4) * 4, k = item / (C4 / 4);
        Four sums = {};
        for (int tap = 0; tap < 9; ++tap) {
          int source = backward_source(block, site(k), tap);
          if (source >= 0) sums = plus(sums, u.seen_grad + ((offset)source * 9 + tap) * C4 + c);
        }
        add(k, c, sums);
      }
    return;
  }
  real* mixed_grad = u.mixed_grad + (offset)block.number * u.cap * P4;
  filter_rows(count, [=](int k, int p, const Four* filters) {
    Four sum = {};
    for (int tap = 0; tap < 9; ++tap) {
      int source = backward_source(block, site(k), tap);
      if (source >= 0) add_times(&sum, load(u.preact_grad + (offset)source * P4 + p), filters[tap]);
    }
    save(mixed_grad + (offset)k * P4 + p, sum);
  });
  SYNC();
  auto row = [=](int k, int tap) { return mixed_grad + (offset)k * P4; };
  add_outer_products<false>(
      count, 1, C4, P4, weight_grads(block).perceive,
      [=](int k, int tap) { return u.pixels + corner(i, block.sample, site(k)) + tap_pixel(4) * C4; },
      [=](int k) { return row(k, 0); });
  if (to_pixels) product<false>(count, 1, P4, C4, back_at_hand(u.perceive_back), row, add);
}

// The parts of the gradient of step i, between which a team waits; `neighbourhood_grad` is the last.

DEVICE void begin_step_grad(Block block, int i) {
  list_rows_grad(block, i);
  if (DEPTHWISE) mix(block, i);
}

DEVICE void update_states_grad(Block block, int i) {
  if (!u.kept) recompute(block, i);
  fire_grad(block, i);
  propose_grad(block);
}

DEVICE void layer_grad(Block block, int i, int j) {
  normalise_grad(block, i, j);
  if (j > 0)
    hidden_layer_grad(block, j);
  else
    perceive_grad(block, i);
}
