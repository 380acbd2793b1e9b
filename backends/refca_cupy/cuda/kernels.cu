// The kernels. Each takes three integers; everything else is in `u`.
//
// Pixels, weights and slots are in the device's memory, whatever their size, and its caches hold what they can.
// Shared memory holds sums of a block; where they fit, also weights (`weights.h`), states and rows (`states.h`). The
// pixels of all steps are kept for the backward pass, and the layers too where there is memory for them; else it
// computes the layers again.
//
// `forward` and `backward` carry a sample through all steps in one launch: a team of blocks a sample, a cluster
// where the team is more than one block, and team after team through the batch. Where a module is not WHOLE,
// `forward_phase` and `backward_phase` do one phase of one step of all samples: for norms over the batch, and for
// devices without clusters. Where blocks wait for each other only at the end of a step, the step is one phase, STEP.

#include "loss.h"
#include "step_grad.h"

enum { STEP, BEGIN, LAYER, UPDATE, NEIGHBOURHOOD, WEIGHTS };  // phases of a step, of `plan.py`

DEVICE Block block_of(int sample) {
  return {sample, (int)blockIdx.x % u.team, (int)blockIdx.x};
}

DEVICE int team_number() { return blockIdx.x / u.team; }
DEVICE int teams() { return gridDim.x / u.team; }

// Put environment and state side by side in every grid, within a border of zeros. What never changes is then there.
DEVICE void pad() {
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

// Set what blocks add to, or write only in part.
DEVICE void clear() {
  offset first = (offset)blockIdx.x * blockDim.x + threadIdx.x, step = (offset)gridDim.x * blockDim.x;
  for (offset n = first; n < (offset)u.b * cells(); n += step) u.source_of[n] = -1;
  if (!u.weight_grad) return;
  for (offset n = first; n < (offset)u.b * cells() * C4; n += step) u.grad[n] = 0;
  for (offset n = first; n < (offset)u.blocks * u.weights; n += step) u.weight_grad[n] = 0;
}

// Everything that has to be there before the first step.
KERNEL prepare(int, int, int) {
  for (int b = blockIdx.x; b < u.b; b += gridDim.x) find_live(b);
  pack();
  pad();
  clear();
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
  in_parts(block, [=](bool last) {
    for (int j = 0; j <= N; ++j) {
      layer(block, i, j);
      if (SEND && last && j == 0) TEAM_ARRIVE();
      if (norm_over_cells()) TEAM_SYNC();
    }
    update_states(block, i);
    if (u.kept) keep_layers(block);
  });
}

DEVICE void step_grad(Block block, int i) {
  begin_step_grad(block, i);
  if (DEPTHWISE) TEAM_SYNC();
  in_parts(block, [=](bool) {
    fetch_layers(block);
    update_states_grad(block, i);
    if (norm_over_cells()) TEAM_SYNC();
    for (int j = N; j >= 0; --j) {
      layer_grad(block, i, j);
      if (j && norm_over_cells()) TEAM_SYNC();
    }
    keep_grads(block);
  });
}

#if WHOLE

TEAM_KERNEL forward(int, int, int) {
  fetch_weights(false);
  for (int b = team_number(); b < u.b; b += teams()) {
    Block block = block_of(b);
    fetch_pixels(block);
    for (int i = 0; i < u.steps; ++i) {
      step(block, i);
      send_states(block);
      TEAM_SYNC();
      fetch_states(block, i + 1);
    }
  }
}

TEAM_KERNEL backward(int, int, int) {
  fetch_weights(true);
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
