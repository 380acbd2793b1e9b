// The rows that a block computes: of its share of a sample's cells those that update, or, where statistics are
// over cells, all. Each row has a slot; in the backward pass slots of several steps are kept, until `flush`.

DEVICE offset slot(Place me, int r) { return (offset)me.block * u.cap + r; }

// Layer j's sums of the block's rows, normalised where the cell has a norm; and their gradients.
DEVICE real* felt(Place me, int j, int r) { return u.felt + ((offset)j * u.blocks * u.cap + slot(me, r)) * P4; }
DEVICE real* felt_grad(Place me, int j, int r) {
  return u.felt_grad + ((offset)j * u.blocks * u.cap + slot(me, r)) * P4;
}
DEVICE real* row_scale(Place me, int j, int r) { return u.row_scale + (offset)j * u.blocks * u.cap + slot(me, r); }
DEVICE real* proposal(Place me, int r) { return u.proposal + slot(me, r) * Q4; }
DEVICE real* proposal_grad(Place me, int r) { return u.proposal_grad + slot(me, r) * Q4; }

// Of a thread's cell, which is a row or not: how many cells of lower threads are, and how many there are in all.
DEVICE int place_among(bool mine, int* total) {
  SHARED(int, counts, 2 * THREADS);
  int x = threadIdx.x, now = 0;
  counts[x] = mine;
  SYNC();
  for (int reach = 1; reach < blockDim.x; reach *= 2) {
    int sum = counts[now * THREADS + x] + (x < reach ? 0 : counts[now * THREADS + x - reach]);
    now ^= 1;
    counts[now * THREADS + x] = sum;
    SYNC();
  }
  int up_to = counts[now * THREADS + x];
  *total = counts[now * THREADS + blockDim.x - 1];
  SYNC();
  return up_to - mine;
}

// The live cells of sample b, in order; a block's work.
PHASE void find_live(int b) {
  int found = 0;
  for (int first = 0; first < cells(); first += blockDim.x) {
    int cell = first + threadIdx.x, total;
    bool lives = cell < cells() && alive(b, cell);
    int at = place_among(lives, &total);
    if (lives) u.live[(offset)b * cells() + found + at] = cell;
    found += total;
  }
  if (threadIdx.x == 0) u.lives[b] = found;
}

// The cells that can be rows, and those of them that are this block's.
DEVICE Range candidates(Place me) { return share(together() ? cells() : u.lives[me.sample], me); }
DEVICE int candidate(Place me, int k) { return together() ? k : u.live[(offset)me.sample * cells() + k]; }

// The numbers of a pixel, eight fours at a time read before any is written.
DEVICE void copy_pixel(const real* from, real* to) {
  for (int c = 0; c < C4; c += 32) {
    Four x[8];
    for (int l = 0; l < 8; ++l)
      if (c + 4 * l < C4) x[l] = load(from + c + 4 * l);
    for (int l = 0; l < 8; ++l)
      if (c + 4 * l < C4) save(to + c + 4 * l, x[l]);
  }
}

// List the block's rows of step i, from slot `used` on. Where `moves`, cells that do not update keep their state.
PHASE void list_rows(Place me, int i, int used, bool moves) {
  Range mine = candidates(me);
  int b = me.sample, rows = 0;
  for (int first = mine.from; first < mine.to; first += blockDim.x) {
    int k = first + threadIdx.x, total;
    bool inside = k < mine.to;
    int cell = inside ? candidate(me, k) : 0;
    bool updates = inside && fires(i, b, cell) && alive(b, cell);
    bool row = inside && (updates || together());
    int r = used + rows + (together() ? threadIdx.x : place_among(row, &total));
    if (together()) total = mine.to - first < blockDim.x ? mine.to - first : blockDim.x;
    if (inside) u.slot_of[(offset)b * cells() + cell] = row ? (int)slot(me, r) : -1;
    if (row) {
      u.cell[slot(me, r)] = cell;
      u.at[slot(me, r)] = corner(i, b, cell);
      u.updates[slot(me, r)] = updates;
    }
    if (moves && inside && !updates) {
      offset own = tap_pixel(4) * C4;
      copy_pixel(u.pixels + corner(i, b, cell) + own, u.pixels + corner(i + 1, b, cell) + own);
    }
    rows += total;
  }
  if (threadIdx.x == 0) {
    u.used[me.block] = used;
    u.rows[me.block] = rows;
  }
  SYNC();
}

// What row r sees: tap by tap, the channels of a pixel.
DEVICE const real* seen(Place me, int r, int tap) {
  return u.pixels + u.at[slot(me, r)] + tap_pixel(tap) * C4;
}

// The state of row r's cell.
DEVICE const real* state(Place me, int r) { return seen(me, r, 4) + E; }

// What a depthwise cell's row sees, after the mix.
DEVICE real* mixed(Place me, int cell, int tap) {
  offset sample = (offset)me.sample * (u.h + 2) * (u.w + 2);
  return u.mixed + (sample + cell / u.w * (u.w + 2) + cell % u.w + tap_pixel(tap)) * P4;
}
