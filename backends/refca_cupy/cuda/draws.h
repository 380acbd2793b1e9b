// Which cells fire, and with what noise: recorded arrays, or the words of Philox4x32-10 that `refca.Streams` draws.
//
// Source: `spec/chapters/philox.md`, `spec/chapters/streams.md`.
#pragma once

#include "products.h"

enum { FIRE, NOISE, RESET, INITIAL };  // purposes, of `refca/definition/randomness.py`

struct Words {
  word w[4];
};

DEVICE Words philox(word c0, word c1, word c2, word c3) {
  word k0 = u.key0, k1 = u.key1;
  for (int round = 0; round < 10; ++round) {
    wide p0 = 0xD2511F53ull * c0, p1 = 0xCD9E8D57ull * c2;
    c0 = (word)(p1 >> 32) ^ c1 ^ k0;
    c2 = (word)(p0 >> 32) ^ c3 ^ k1;
    c1 = (word)p1;
    c3 = (word)p0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// The words of a cell at step i of the call, for a purpose and a quad.
DEVICE Words words(int purpose, int quad, int i, int b, int site) {
  return philox(site, u.first_sample + b, u.first_step + i, ((word)purpose << 16) + quad);
}

DEVICE bool fires(int i, int b, int site) {
  if (u.fire) return u.fire[((offset)i * u.b + b) * cells() + site];
  return words(FIRE, 0, i, b, site).w[0] < u.fire_below;
}

// √(−2 ln v) of v = n / 2²⁵, n odd; near 1 from 1 − v, which is exact.
DEVICE real radius(word random) {
  int n = 2 * (int)(random >> 8) + 1;
  const real unit = (real)1 / (1 << 25);
  real log_v = n < 1 << 24 ? log(n * unit) : log1p(-((1 << 25) - n) * unit);
  return sqrt(-2 * log_v);
}

// cos and sin of 2πv: the nearest quarter of a turn, and the exact remainder as an angle.
DEVICE void direction(word random, real* x, real* y) {
  int n = 2 * (int)(random >> 8) + 1, quarter = (n + (1 << 22)) >> 23;
  real angle = (n - quarter * (1 << 23)) * (real)(2 * 3.14159265358979323846 / (1 << 25));
  real c = cos(angle), s = sin(angle);
  *x = quarter & 1 ? s : c;
  *y = quarter & 1 ? c : s;
  if ((quarter + 1) & 2) *x = -*x;
  if (quarter & 2) *y = -*y;
}

// The standard normal numbers of a quad.
DEVICE Four normals(int purpose, int quad, int i, int b, int site) {
  Four z;
  const real* recorded = purpose == NOISE ? u.noise : purpose == RESET ? u.reset_noise : 0;
  if (recorded) {
    const real* from = recorded + (((offset)i * u.b + b) * cells() + site) * D + 4 * quad;
    for (int c = 0; c < 4; ++c) z.x[c] = 4 * quad + c < D ? from[c] : 0;
    return z;
  }
  Words random = words(purpose, quad, i, b, site);
  for (int pair = 0; pair < 4; pair += 2) {
    real r = radius(random.w[pair]), x, y;
    direction(random.w[pair + 1], &x, &y);
    z.x[pair] = r * x;
    z.x[pair + 1] = r * y;
  }
  return z;
}
