// One step backwards, of a block's rows. `grad` is the gradient of the loss for the pixels after the step that is
// to be undone next: of each cell E + D numbers, which only live cells need unless the environment's is wanted.
//
// What the cells felt is worked out again from the pixels that were kept. Gradients of weights are added up from
// the slots when these are full, into an array of the block's own.
//
// Source: derivatives of `spec/chapters/step.md`; the derivative of relu at 0 is 0.

DEVICE real* grad_of(Place me, int cell) { return u.grad + ((offset)me.sample * cells() + cell) * C4; }

// The block's own gradients of the weights, one array after another as `Packed` of layout.py has them.
struct Weights {
  real *perceive, *filters, *hidden, *bias, *update, *update_bias;
};

DEVICE Weights weights_of(int block) {
  Weights w;
  w.perceive = u.weight_grad + (offset)block * u.weights;
  w.filters = w.perceive + (DEPTHWISE ? 1 : 9) * C4 * P4;
  w.hidden = w.filters + (DEPTHWISE ? 9 * P4 : 0);
  w.bias = w.hidden + (offset)N * P4 * P4;
  w.update = w.bias + (N + 1) * P4;
  w.update_bias = w.update + P4 * Q4;
  return w;
}

constexpr int DEEP = sizeof(real) == 4 ? 5 : 2;  // fours of what is seen at a tap, for whose weights a thread adds up

// Add up the weights' gradients over the slots in use.
PHASE void flush(Place me, int rows) {
  Weights w = weights_of(me.block);
  auto grad_at = [=](int j) { return [=](int r) { return felt_grad(me, j, r); }; };
  auto felt_at = [=](int j) { return [=](int r, int tap) { return felt(me, j, r); }; };
  auto proposed = [=](int r) { return proposal_grad(me, r); };
  if (!DEPTHWISE && !u.frozen)
    add_outer<false, DEEP>(rows, 9, C4, P4, w.perceive, [=](int r, int tap) { return seen(me, r, tap); }, grad_at(0));
  for (int j = 1; j <= N; ++j)
    add_outer<true, 2>(rows, 1, P4, P4, w.hidden + (offset)(j - 1) * P4 * P4, felt_at(j - 1), grad_at(j));
  add_outer<true, 1>(rows, 1, P4, Q4, w.update, felt_at(N), proposed);
  if (u.biased) {
    for (int j = 0; j <= N; ++j) add_rows(rows, P4, w.bias + j * P4, grad_at(j));
    add_rows(rows, Q4, w.update_bias, proposed);
  }
}

// The first phase of step i: what the loss after it asks for, and its rows, behind those in use.
PHASE void begin_step_grad(Place me, int i) {
  Range mine = candidates(me);
  int counted = u.counted[i], b = me.sample, used = i == u.steps - 1 ? 0 : u.used[me.block] + u.rows[me.block];
  if (counted >= 0)
    for (int item = threadIdx.x; item < (mine.to - mine.from) * D; item += blockDim.x) {
      int cell = candidate(me, mine.from + item / D), d = item % D;
      grad_of(me, cell)[E + d] += u.state_grad[(((offset)counted * u.b + b) * cells() + cell) * D + d];
    }
  if (used + mine.to - mine.from > u.cap) {
    flush(me, used);
    used = 0;
  }
  SYNC();  // all have read how many slots were in use
  list_rows(me, i, used, false);
  if (DEPTHWISE) mix(me, i);
}

// Fire and gate backwards: the gradients of proposals, and of the states before as far as they go straight back.
PHASE void fire_grad(Place me, int i) {
  int rows = u.rows[me.block], used = u.used[me.block];
  if (!RESETTABLE) {
    for (int item = threadIdx.x; item < rows * (Q4 / 4); item += blockDim.x) {
      int q = item % (Q4 / 4) * 4, r = used + item / (Q4 / 4);
      bool updates = u.updates[slot(me, r)];
      real *grad = grad_of(me, u.cell[slot(me, r)]) + E + q, from[4];
      Four to = {};
      for (int l = 0; l < 4; ++l) from[l] = updates && q + l < D ? grad[l] : 0;
      for (int l = 0; l < 4; ++l) to.x[l] = from[l];
      save(proposal_grad(me, r) + q, to);
      if (updates && !RESIDUAL)
        for (int l = 0; l < 4 && q + l < D; ++l) grad[l] = 0;
    }
    SYNC();
    return;
  }
  for (int r = used + threadIdx.x; r < used + rows; r += blockDim.x) {
    real *to = proposal_grad(me, r), *grad = grad_of(me, u.cell[slot(me, r)]) + E, kept = 1, gate_grad = 0;
    bool updates = u.updates[slot(me, r)];
    if (RESETTABLE && updates) {
      real gate = sigmoid(proposal(me, r)[D]);
      for (int block = 0; block < ROUNDED(D) / 4; ++block) {
        Four x = candidate_of(me, r, block, i), z = normals(RESET, block, i, me.sample, u.cell[slot(me, r)]);
        for (int c = 0; c < 4 && 4 * block + c < D; ++c) gate_grad += grad[4 * block + c] * (z.x[c] - x.x[c]);
      }
      gate_grad *= gate * (1 - gate);
      kept = 1 - gate;
    }
    for (int q = 0; q < Q4; ++q) to[q] = updates && q < D ? kept * grad[q] : 0;
    if (RESETTABLE) to[D] = gate_grad;
    if (!updates) continue;
    for (int d = 0; d < D; ++d) grad[d] = RESIDUAL ? to[d] : 0;
  }
  SYNC();
}

// The last layer's gradient, once what cells felt is known again.
PHASE void finish_step_grad(Place me, int i) {
  first_sums(me);
  for (int j = 0; j <= N; ++j) {
    normalise(me, i, j);
    if (j < N) next_sums(me, j);
  }
  if (RESETTABLE) propose(me);
  fire_grad(me, i);
  int rows = u.rows[me.block], used = u.used[me.block];
  product<false>(
      rows, 1, Q4, P4, u.update_back, [=](int r, int tap) { return proposal_grad(me, used + r); },
      [=](int r, int c, Four sums) {
        for (int l = 0; l < 4; ++l) sums.x[l] = passed(sums.x[l], felt(me, N, used + r)[c + l]);
        save(felt_grad(me, N, used + r) + c, sums);
      });
  SYNC();
  if (together()) add_sums(me, N);
}

// From layer j to layer j-1, or from the first layer's sums to what it was made of.
PHASE void feel_grad(Place me, int i, int j) {
  int rows = u.rows[me.block], used = u.used[me.block];
  normalise_grad(me, i, j);
  if (j > 0) {
    product<false>(
        rows, 1, P4, P4, u.hidden_back + (offset)(j - 1) * P4 * P4,
        [=](int r, int tap) { return felt_grad(me, j, used + r); },
        [=](int r, int c, Four sums) {
          for (int l = 0; l < 4; ++l) sums.x[l] = passed(sums.x[l], felt(me, j - 1, used + r)[c + l]);
          save(felt_grad(me, j - 1, used + r) + c, sums);
        });
    SYNC();
    if (together()) add_sums(me, j - 1);
  } else if (!DEPTHWISE) {
    if (i > 0 || u.onto_image) {
      product<false>(
          rows, 1, P4, 9 * C4, u.perceive_back, [=](int r, int tap) { return felt_grad(me, 0, used + r); },
          [=](int r, int c, Four sums) { save(u.seen_grad + slot(me, used + r) * 9 * C4 + c, sums); });
      SYNC();
    }
  } else if (!u.frozen) {
    real* filters = weights_of(me.block).filters;
    for (int item = threadIdx.x; item < 9 * P4; item += blockDim.x) {
      int p = item % P4, tap = item / P4;
      real sum = 0;
      for (int r = used; r < used + rows; ++r)
        sum += felt_grad(me, 0, r)[p] * mixed(me, u.cell[slot(me, r)], tap)[p];
      filters[item] += sum;
    }
  }
}

// The slot of the cell that sees `cell` at this tap, from which a gradient comes back; -1 if it is no row.
DEVICE int backward_source(Place me, int cell, int tap) {
  int y = cell / u.w - (tap / 3 - 1), x = cell % u.w - (tap % 3 - 1);
  if (y < 0 || y >= u.h || x < 0 || x >= u.w) return -1;
  return u.slot_of[(offset)me.sample * cells() + y * u.w + x];
}

// The last phase: each cell gathers from those that saw it.
PHASE void gather(Place me, int i) {
  bool onward = i > 0 || u.onto_image;
  bool everywhere = u.onto_image || DEPTHWISE;
  Range mine = everywhere ? share(cells(), me) : candidates(me);
  int count = mine.to - mine.from;
  auto cell = [=](int k) { return everywhere ? mine.from + k : candidate(me, mine.from + k); };
  auto add = [=](int k, int c, Four sums) {
    real* to = grad_of(me, cell(k)) + c;
    save(to, plus(sums, to));
  };
  if (!DEPTHWISE) {
    if (onward)
      for (int item = threadIdx.x; item < count * (C4 / 4); item += blockDim.x) {
        int c = item % (C4 / 4) * 4, k = item / (C4 / 4);
        Four sums = {};
        for (int tap = 0; tap < 9; ++tap) {
          int source = backward_source(me, cell(k), tap);
          if (source >= 0) sums = plus(sums, u.seen_grad + ((offset)source * 9 + tap) * C4 + c);
        }
        add(k, c, sums);
      }
    return;
  }
  real* mixed_grad = u.mixed_grad + (offset)me.block * u.cap * P4;
  for (int item = threadIdx.x; item < count * P4; item += blockDim.x) {
    int p = item % P4, k = item / P4;
    real sum = 0;
    for (int tap = 0; tap < 9; ++tap) {
      int source = backward_source(me, cell(k), tap);
      if (source >= 0) sum += u.felt_grad[(offset)source * P4 + p] * u.filters[tap * P4 + p];
    }
    mixed_grad[item] = sum;
  }
  SYNC();
  auto row = [=](int k, int tap) { return mixed_grad + (offset)k * P4; };
  add_outer<false, 1>(
      count, 1, C4, P4, weights_of(me.block).perceive,
      [=](int k, int tap) { return u.pixels + corner(i, me.sample, cell(k)) + tap_pixel(4) * C4; },
      [=](int k) { return row(k, 0); });
  if (onward) product<false>(count, 1, P4, C4, u.perceive_back, row, add);
}

