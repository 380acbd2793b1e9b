// The kernels. Each takes three integers; everything else is in `u`.
//
// Pixels, weights and slots are in the device's memory, whatever their size, and its caches hold what they can.
// Shared memory holds only sums of a block. The pixels of all steps are kept for the backward pass, and the layers
// too where there is memory for them; else it computes the layers again.
//
// `forward` and `backward` carry a sample through all steps in one launch: a team of blocks a sample, a cluster
// where the team is more than one block, and team after team through the batch. Where a module is not WHOLE,
// `forward_phase` and `backward_phase` do one phase of one step of all samples: for norms over the batch, and for
// devices without clusters. Where blocks wait for each other only at the end of a step, the step is one phase, STEP.

#include "step_grad.h"

enum { STEP, BEGIN, LAYER, UPDATE, NEIGHBOURHOOD, WEIGHTS };  // phases of a step, of `unroll.py`

DEVICE Block block_of(int sample) {
  return {sample, (int)blockIdx.x % u.team, (int)blockIdx.x};
}

DEVICE int team_number() { return blockIdx.x / u.team; }
DEVICE int teams() { return gridDim.x / u.team; }

KERNEL find_live_cells(int, int, int) { find_live(blockIdx.x); }

// Put environment and state side by side in every grid, within a border of zeros. What never changes is then there.
KERNEL pad(int, int, int) {
  offset all = (offset)u.grids * u.b * (u.h + 2) * (u.w + 2) * (C4 / 4);
  for (offset n = (offset)blockIdx.x * blockDim.x + threadIdx.x; n < all; n += (offset)gridDim.x * blockDim.x) {
    offset at = n / (C4 / 4);  // the pixel
    int x = at % (u.w + 2) - 1, y = at / (u.w + 2) % (u.h + 2) - 1, b = at / (u.w + 2) / (u.h + 2) % u.b;
    bool inside = x >= 0 && x < u.w && y >= 0 && y < u.h;
    offset site = ((offset)b * u.h + y) * u.w + x;
    Four values;
    for (int l = 0; l < 4; ++l) {
      int c = n % (C4 / 4) * 4 + l;
      real value = 0;
      if (inside && c < E) value = u.environment[site * E + c];
      if (inside && c >= E && c < E + D) value = u.state[site * D + c - E];
      values.x[l] = value;
    }
    save(u.pixels + 4 * n, values);
  }
}

// Copy the states after the last step, and for a loss the states after each step that it counts.
KERNEL unpad(int, int, int) {
  offset each = (offset)u.b * cells() * D;
  for (offset n = (offset)blockIdx.x * blockDim.x + threadIdx.x; n < each; n += (offset)gridDim.x * blockDim.x) {
    int b = n / D / cells(), site = n / D % cells();
    offset own = tap_pixel(4) * C4 + E + n % D;
    u.last[n] = u.pixels[corner(u.steps, b, site) + own];
    for (int i = 0; u.loss_index && i < u.steps; ++i)
      if (u.loss_index[i] >= 0) u.states[u.loss_index[i] * each + n] = u.pixels[corner(i + 1, b, site) + own];
  }
}

// All of a step; and all of the gradient of a step that comes before `neighbourhood_grad`.
DEVICE void step(Block block, int i) {
  begin_step(block, i);
  if (DEPTHWISE) TEAM_SYNC();
  for (int j = 0; j <= N; ++j) {
    layer(block, i, j);
    if (norm_over_cells()) TEAM_SYNC();
  }
  update_states(block, i);
}

DEVICE void step_grad(Block block, int i) {
  begin_step_grad(block, i);
  if (DEPTHWISE) TEAM_SYNC();
  update_states_grad(block, i);
  if (norm_over_cells()) TEAM_SYNC();
  for (int j = N; j >= 0; --j) {
    layer_grad(block, i, j);
    if (j && norm_over_cells()) TEAM_SYNC();
  }
}

#if WHOLE

TEAM_KERNEL forward(int, int, int) {
  for (int b = team_number(); b < u.b; b += teams()) {
    Block block = block_of(b);
    for (int i = 0; i < u.steps; ++i) {
      step(block, i);
      TEAM_SYNC();
    }
  }
}

TEAM_KERNEL backward(int, int, int) {
  for (int b = team_number(); b < u.b; b += teams()) {
    Block block = block_of(b);
    for (int i = u.steps - 1; i >= 0; --i) {
      step_grad(block, i);
      TEAM_SYNC();
      neighbourhood_grad(block, i);
      TEAM_SYNC();
    }
    if (u.steps) finish_weight_grads(block);
    SYNC();
  }
}

#else

KERNEL forward_phase(int phase, int i, int j) {
  Block block = block_of(team_number());
  if (phase == STEP) step(block, i);
  if (phase == BEGIN) begin_step(block, i);
  if (phase == LAYER) layer(block, i, j);
  if (phase == UPDATE) update_states(block, i);
}

KERNEL backward_phase(int phase, int i, int j) {
  Block block = block_of(team_number());
  if (phase == STEP) step_grad(block, i);
  if (phase == BEGIN) begin_step_grad(block, i);
  if (phase == LAYER) layer_grad(block, i, j);
  if (phase == UPDATE) update_states_grad(block, i);
  if (phase == NEIGHBOURHOOD) neighbourhood_grad(block, i);
  if (phase == WEIGHTS) finish_weight_grads(block);
}

#endif

// Add up the gradients of the weights over blocks, in the place of the first block's.
KERNEL sum_weights(int, int, int) {
  for (int n = blockIdx.x * blockDim.x + threadIdx.x; n < u.weights; n += gridDim.x * blockDim.x) {
    const real* from = u.weight_grad + n;
    real sum = 0;
    for (int other = 0; other < u.blocks; other += 8) {
      real some[8];
      for (int l = 0; l < 8; ++l) some[l] = other + l < u.blocks ? from[(offset)(other + l) * u.weights] : 0;
      for (int l = 0; l < 8; ++l) sum += some[l];
    }
    u.weight_grad[n] = sum;
  }
}

// The loss of logits (S, B, pixels, L), each block's part of it; and its gradient.
KERNEL loss_and_grad(int squared, int, int) {
  offset pixels = (offset)u.readout_pixels, all = (offset)u.loss_steps * u.b * pixels;
  double loss = 0;
  for (offset n = (offset)blockIdx.x * blockDim.x + threadIdx.x; n < all; n += (offset)gridDim.x * blockDim.x) {
    int pixel = n % pixels, b = n / pixels % u.b, label = u.label[u.label_map ? b * pixels + pixel : b];
    const real* logits = u.logits + n * u.labels;
    real* grad = u.logits_grad + n * u.labels;
    real weight = u.weight[n / pixels];
    if (u.label_map) weight /= pixels;
    if (!u.label_map && !alive(b, pixel)) weight = 0;
    real top = logits[0], total = 0;
    for (int l = 1; l < u.labels; ++l) top = logits[l] > top ? logits[l] : top;
    if (!squared)
      for (int l = 0; l < u.labels; ++l) total += exp(logits[l] - top);
    real value = squared ? 0 : log(total) - (logits[label] - top);
    for (int l = 0; l < u.labels; ++l) {
      real error = (squared ? logits[l] : exp(logits[l] - top) / total) - (l == label);
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
