// The states that streams begin with.
//
// Source: `spec/chapters/init_state.md`.

KERNEL initial(int, int, int) {
  int across = ROUNDED(D) / 4;
  offset items = (offset)u.b * cells() * across;
  for (offset n = (offset)blockIdx.x * blockDim.x + threadIdx.x; n < items; n += (offset)gridDim.x * blockDim.x) {
    int block = n % across, b = n / across / cells(), cell = n / across % cells();
    Four z = normals(INITIAL, block, 0, b, cell);
    for (int c = 0; c < 4 && 4 * block + c < D; ++c) u.last[n / across * D + 4 * block + c] = z.x[c];
  }
}
