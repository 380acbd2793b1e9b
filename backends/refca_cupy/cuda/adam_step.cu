// Adam, after the normalisation of gradients. A block works on CHUNK numbers of one tensor of parameters.
//
// Source: `spec/chapters/adam.md`. The program that includes this declares the structure (`adam.py`).

extern "C" {
CONSTANT Adam d;
}

// The tensor that a block works on.
DEVICE int tensor_of_block() {
  int k = 0;
  while (k + 1 < d.count && blockIdx.x >= d.tensors[k + 1].first_block) ++k;
  return k;
}

struct Span {
  int from, to;
};

// The numbers of the tensor that a block works on.
DEVICE Span chunk(const Tensor& tensor) {
  int from = (blockIdx.x - tensor.first_block) * CHUNK;
  return {from, from + CHUNK < tensor.size ? from + CHUNK : tensor.size};
}

// The sum of the squares of each block's numbers.
KERNEL add_squares(int, int, int) {
  SHARED(double, squares, THREADS);
  const Tensor& tensor = d.tensors[tensor_of_block()];
  Span mine = chunk(tensor);
  double sum = 0;
  for (int n = mine.from + threadIdx.x; n < mine.to; n += blockDim.x) sum += (double)tensor.grad[n] * tensor.grad[n];
  squares[threadIdx.x] = sum;
  SYNC();
  for (int half = THREADS / 2; half; half /= 2) {
    int other = threadIdx.x + half;
    if (threadIdx.x < half && other < blockDim.x) squares[threadIdx.x] += squares[other];
    SYNC();
  }
  if (threadIdx.x == 0) d.squares[blockIdx.x] = squares[0];
}

// What the gradient of a tensor is multiplied with.
DEVICE real gradient_scale(const Tensor& tensor) {
  int blocks = (tensor.size + CHUNK - 1) / CHUNK;
  double sum = 0;
  for (int k = 0; k < blocks; ++k) sum += d.squares[tensor.first_block + k];
  return 1 / ((real)sqrt(sum) + (real)d.norm_epsilon);
}

KERNEL adam_step(int normalise, int, int) {
  const Tensor& tensor = d.tensors[tensor_of_block()];
  Span mine = chunk(tensor);
  real scale = normalise ? gradient_scale(tensor) : 1;
  for (int n = mine.from + threadIdx.x; n < mine.to; n += blockDim.x) {
    real grad = tensor.grad[n] * scale;
    real m = (real)d.beta_1 * tensor.m[n] + (real)(1 - d.beta_1) * grad;
    real v = (real)d.beta_2 * tensor.v[n] + (real)(1 - d.beta_2) * grad * grad;
    tensor.m[n] = m;
    tensor.v[n] = v;
    tensor.updated[n] = tensor.param[n] - (real)d.learning_rate * m / (sqrt(v) + (real)d.epsilon);
  }
}
