// The states that streams start from.
//
// Source: `spec/chapters/init_state.md`.

#include "draws.h"

KERNEL initial(int, int, int) {
  int across = ROUNDED(D) / 4;
  offset items = (offset)u.b * cells() * across;
  for (offset n = (offset)blockIdx.x * blockDim.x + threadIdx.x; n < items; n += (offset)gridDim.x * blockDim.x) {
    int quad = n % across, b = n / across / cells(), site = n / across % cells();
    Four z = normals(INITIAL, quad, 0, b, site);
    for (int c = 0; c < 4 && 4 * quad + c < D; ++c) u.last[n / across * D + 4 * quad + c] = z.x[c];
  }
}
