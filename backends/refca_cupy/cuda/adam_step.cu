// Adam, after the normalisation of gradients: one block for each tensor of parameters.
//
// Source: `spec/chapters/adam.md`. The program that includes this declares the structure (`adam.py`).

extern "C" {
CONSTANT Adam d;
}

// Σ grad² of a tensor, the same for every thread.
DEVICE double square_sum(const real* grad, int size) {
  SHARED(double, squares, THREADS);
  double sum = 0;
  for (int n = threadIdx.x; n < size; n += blockDim.x) sum += (double)grad[n] * grad[n];
  squares[threadIdx.x] = sum;
  SYNC();
  for (int half = THREADS / 2; half; half /= 2) {
    int other = threadIdx.x + half;
    if (threadIdx.x < half && other < blockDim.x) squares[threadIdx.x] += squares[other];
    SYNC();
  }
  return squares[0];
}

KERNEL adam_step(int normalise, int, int) {
  Tensor tensor = d.tensors[blockIdx.x];
  real scale = normalise ? 1 / ((real)sqrt(square_sum(tensor.grad, tensor.size)) + (real)d.norm_epsilon) : 1;
  for (int n = threadIdx.x; n < tensor.size; n += blockDim.x) {
    real grad = tensor.grad[n] * scale;
    real m = (real)d.beta_1 * tensor.m[n] + (real)(1 - d.beta_1) * grad;
    real v = (real)d.beta_2 * tensor.v[n] + (real)(1 - d.beta_2) * grad * grad;
    tensor.m[n] = m;
    tensor.v[n] = v;
    tensor.updated[n] = tensor.param[n] - (real)d.learning_rate * m / (sqrt(v) + (real)d.epsilon);
  }
}
