// The kernels. Each has up to three integers for arguments; everything else is in `u`.
//
// Pixels, weights and slots are in the device's memory, whatever their size, and its caches hold what they can.
// Shared memory has only what a block adds up. The pixels of all steps are kept for the way back, which works out
// again what cells felt.
//
// `forward` and `backward` carry a sample through all steps in one launch: a team of blocks a sample, a cluster
// where the team is more than one, and team by team through the batch. Where a module is not WHOLE,
// `forward_phase` and `backward_phase` do one phase of one step of all samples: for norms over the batch, and for
// devices without clusters. Where blocks wait for each other only at its end, all of a step is one phase, STEP.

enum { STEP, BEGIN, FEEL, FINISH, GATHER, END };  // phases of a step, of `unroll.py`

DEVICE Place place_of(int sample) {
  return {sample, (int)blockIdx.x % u.team, (int)blockIdx.x};
}

DEVICE int team_of_block() { return blockIdx.x / u.team; }
DEVICE int teams() { return gridDim.x / u.team; }

KERNEL find_live_cells(int, int, int) { find_live(blockIdx.x); }

// Image and state side by side in every grid, within a border of zeros: what never changes is there from the start.
KERNEL enter(int, int, int) {
  offset fours = (offset)u.grids * u.b * (u.h + 2) * (u.w + 2) * (C4 / 4);
  for (offset n = (offset)blockIdx.x * blockDim.x + threadIdx.x; n < fours; n += (offset)gridDim.x * blockDim.x) {
    offset at = n / (C4 / 4);  // the pixel
    int x = at % (u.w + 2) - 1, y = at / (u.w + 2) % (u.h + 2) - 1, b = at / (u.w + 2) / (u.h + 2) % u.b;
    bool inside = x >= 0 && x < u.w && y >= 0 && y < u.h;
    offset cell = ((offset)b * u.h + y) * u.w + x;
    Four values;
    for (int l = 0; l < 4; ++l) {
      int c = n % (C4 / 4) * 4 + l;
      real value = 0;
      if (inside && c < E) value = u.environment[cell * E + c];
      if (inside && c >= E && c < E + D) value = u.state[cell * D + c - E];
      values.x[l] = value;
    }
    save(u.pixels + 4 * n, values);
  }
}

// The states after the last step, and where a loss is asked for those after each counted step.
KERNEL leave(int, int, int) {
  offset each = (offset)u.b * cells() * D;
  for (offset n = (offset)blockIdx.x * blockDim.x + threadIdx.x; n < each; n += (offset)gridDim.x * blockDim.x) {
    int b = n / D / cells(), cell = n / D % cells();
    offset own = tap_pixel(4) * C4 + E + n % D;
    u.last[n] = u.pixels[corner(u.steps, b, cell) + own];
    for (int i = 0; u.counted && i < u.steps; ++i)
      if (u.counted[i] >= 0) u.states[u.counted[i] * each + n] = u.pixels[corner(i + 1, b, cell) + own];
  }
}

// A step, and what of it comes before cells gather what those that saw them send back.
DEVICE void step(Place me, int i) {
  begin_step(me, i);
  if (DEPTHWISE) TEAM_SYNC();
  for (int j = 0; j <= N; ++j) {
    feel(me, i, j);
    if (together()) TEAM_SYNC();
  }
  finish_step(me, i);
}

DEVICE void step_grad(Place me, int i) {
  begin_step_grad(me, i);
  if (DEPTHWISE) TEAM_SYNC();
  finish_step_grad(me, i);
  if (together()) TEAM_SYNC();
  for (int j = N; j >= 0; --j) {
    feel_grad(me, i, j);
    if (j && together()) TEAM_SYNC();
  }
}

#if WHOLE

TEAM_KERNEL forward(int, int, int) {
  for (int b = team_of_block(); b < u.b; b += teams()) {
    Place me = place_of(b);
    for (int i = 0; i < u.steps; ++i) {
      step(me, i);
      TEAM_SYNC();
    }
  }
}

TEAM_KERNEL backward(int, int, int) {
  for (int b = team_of_block(); b < u.b; b += teams()) {
    Place me = place_of(b);
    for (int i = u.steps - 1; i >= 0; --i) {
      step_grad(me, i);
      TEAM_SYNC();
      gather(me, i);
      TEAM_SYNC();
    }
    if (u.steps) flush(me, u.used[me.block] + u.rows[me.block]);
    SYNC();
  }
}

#else

KERNEL forward_phase(int phase, int i, int j) {
  Place me = place_of(team_of_block());
  if (phase == STEP) step(me, i);
  if (phase == BEGIN) begin_step(me, i);
  if (phase == FEEL) feel(me, i, j);
  if (phase == FINISH) finish_step(me, i);
}

KERNEL backward_phase(int phase, int i, int j) {
  Place me = place_of(team_of_block());
  if (phase == STEP) step_grad(me, i);
  if (phase == BEGIN) begin_step_grad(me, i);
  if (phase == FEEL) feel_grad(me, i, j);
  if (phase == FINISH) finish_step_grad(me, i);
  if (phase == GATHER) gather(me, i);
  if (phase == END) flush(me, u.used[me.block] + u.rows[me.block]);
}

#endif

// The sum over blocks of the weights' gradients, in the first block's place.
KERNEL sum_weights(int, int, int) {
  for (int n = blockIdx.x * blockDim.x + threadIdx.x; n < u.weights; n += gridDim.x * blockDim.x) {
    const real* from = u.weight_grad + n;
    real sum = 0;
    for (int block = 0; block < u.blocks; block += 8) {
      real some[8];
      for (int l = 0; l < 8; ++l) some[l] = block + l < u.blocks ? from[(offset)(block + l) * u.weights] : 0;
      for (int l = 0; l < 8; ++l) sum += some[l];
    }
    u.weight_grad[n] = sum;
  }
}

// What `said` (S, B, pixels, L) is worth at the labels, each block's part; and the gradient of it.
KERNEL judge(int squared, int, int) {
  offset pixels = (offset)u.shown, all = (offset)u.counts * u.b * pixels;
  double loss = 0;
  for (offset n = (offset)blockIdx.x * blockDim.x + threadIdx.x; n < all; n += (offset)gridDim.x * blockDim.x) {
    int pixel = n % pixels, b = n / pixels % u.b, label = u.label[u.mapped ? b * pixels + pixel : b];
    const real* said = u.said + n * u.labels;
    real* grad = u.said_grad + n * u.labels;
    real weight = u.weight[n / pixels];
    if (u.mapped) weight /= pixels;
    if (!u.mapped && !alive(b, pixel)) weight = 0;
    real top = said[0], total = 0;
    for (int l = 1; l < u.labels; ++l) top = said[l] > top ? said[l] : top;
    if (!squared)
      for (int l = 0; l < u.labels; ++l) total += exp(said[l] - top);
    real value = squared ? 0 : log(total) - (said[label] - top);
    for (int l = 0; l < u.labels; ++l) {
      real error = (squared ? said[l] : exp(said[l] - top) / total) - (l == label);
      if (squared) value += error * error / 2;
      grad[l] = weight == 0 ? 0 : weight * error;
    }
    if (weight != 0) loss += weight * value;
  }
  SHARED(double, losses, THREADS);
  losses[threadIdx.x] = loss;
  SYNC();
  if (threadIdx.x == 0) {
    for (int x = 1; x < blockDim.x; ++x) loss += losses[x];
    u.losses[blockIdx.x] = loss;
  }
}
