// The loss of the readouts after the steps that it counts, and its gradient with respect to the states.
//
// Source: `spec/chapters/l2.md`, `spec/chapters/cross_entropy.md`.
#pragma once

#include "parameters.h"

// The logits of a state: its last channels, a linear map of it, or what was GIVEN.
DEVICE const real* logits_of(const real* state, offset n) {
  real* logits = u.logits + n * u.labels;
  if (u.readout == LAST_CHANNELS) return state + D - u.labels;
  if (u.readout == LINEAR)
    for (int l = 0; l < u.labels; ++l) {
      real sum = 0;
      for (int d = 0; d < D; ++d) sum += state[d] * u.readout_weight[d * u.labels + l];
      logits[l] = sum;
    }
  return logits;
}

// The gradient of a state, from that of its logits.
DEVICE void readout_grad(const real* grad, real* state_grad) {
  for (int d = 0; d < D; ++d) {
    real sum = 0;
    if (u.readout == LINEAR)
      for (int l = 0; l < u.labels; ++l) sum += grad[l] * u.readout_weight[d * u.labels + l];
    else if (d >= D - u.labels)
      sum = grad[d - (D - u.labels)];
    state_grad[d] = sum;
  }
}

// Half the squared error, or the cross-entropy, of logits at a label; and the gradient, weighted.
DEVICE real pixel_loss(int squared, const real* logits, int label, real weight, real* grad) {
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
  return weight == 0 ? 0 : weight * value;
}

// Add the block's part of the gradient of a linear readout, of the items from `first` on.
DEVICE void add_readout_weight_grad(real* total, const real* states, offset first, offset all) {
  SYNC();  // all gradients of logits are there
  int count = all - first < blockDim.x ? all - first : blockDim.x;
  for (int k = threadIdx.x; k < readout_size(); k += blockDim.x) {
    const real *state = states + first * D + k / u.labels, *grad = u.logits_grad + first * u.labels + k % u.labels;
    real sum = 0;
    for (int n = 0; n < count; ++n) sum += state[(offset)n * D] * grad[(offset)n * u.labels];
    total[k] += sum;
  }
}

// The loss over `states` (S, B, pixels, D), or where the readout is GIVEN over `logits` (S, B, pixels, L).
KERNEL loss_and_grad(int squared, int, int) {
  offset pixels = (offset)u.readout_pixels, all = (offset)u.loss_steps * u.b * pixels;
  real* weight_grad = u.readout_grad + (offset)blockIdx.x * readout_size();
  for (int k = threadIdx.x; k < readout_size(); k += blockDim.x) weight_grad[k] = 0;
  double loss = 0;
  for (offset first = (offset)blockIdx.x * blockDim.x; first < all; first += (offset)gridDim.x * blockDim.x) {
    offset n = first + threadIdx.x;
    if (n < all) {
      int pixel = n % pixels, b = n / pixels % u.b, label = u.label[u.label_map ? b * pixels + pixel : b];
      real weight = u.weight[n / pixels], *grad = u.logits_grad + n * u.labels;
      if (u.label_map) weight /= pixels;
      if (!u.label_map && !alive(b, pixel)) weight = 0;
      loss += pixel_loss(squared, logits_of(u.states + n * D, n), label, weight, grad);
      if (u.readout != GIVEN) readout_grad(grad, u.state_grad + n * D);
    }
    if (u.readout == LINEAR) add_readout_weight_grad(weight_grad, u.states, first, all);
  }
  SHARED(double, losses, THREADS);
  losses[threadIdx.x] = loss;
  SYNC();
  if (threadIdx.x == 0) {
    for (int x = 1; x < blockDim.x; ++x) loss += losses[x];
    u.losses[blockIdx.x] = loss;
  }
}
