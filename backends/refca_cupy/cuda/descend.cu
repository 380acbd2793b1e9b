// Adam, and before it the normalisation of gradients: a block for each tensor of parameters.
//
// Source: `spec/chapters/adam.md`. `descent.py` declares the structure `d`.

extern "C" {
CONSTANT Descent d;
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

KERNEL descend(int normalise, int, int) {
  Tensor tensor = d.tensors[blockIdx.x];
  real scale = normalise ? 1 / ((real)sqrt(square_sum(tensor.grad, tensor.size)) + (real)d.least) : 1;
  for (int n = threadIdx.x; n < tensor.size; n += blockDim.x) {
    real grad = tensor.grad[n] * scale;
    real first = (real)d.beta_1 * tensor.first[n] + (real)(1 - d.beta_1) * grad;
    real second = (real)d.beta_2 * tensor.second[n] + (real)(1 - d.beta_2) * grad * grad;
    tensor.first[n] = first;
    tensor.second[n] = second;
    tensor.moved[n] = tensor.param[n] - (real)d.rate * first / (sqrt(second) + (real)d.epsilon);
  }
}
