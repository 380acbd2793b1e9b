// The rows that a block computes: the cells of its share of a sample that update, or, where a norm is over cells,
// all of them. Each row has a slot. Where memory allows, the slots of all steps are KEPT from the forward for the
// backward pass. Else the backward pass computes rows again, and fills slots with the rows of several steps until
// `add_weight_grads` has used them.
//
// A phase of a step works on rows r, which are slots; or if STATES_AT_HAND on part of the rows of a step, which are
// copied from and to slots s (`states.h`).
#pragma once

#include "draws.h"

DEVICE offset slot(Block block, int s) { return (offset)block.number * u.slots + s; }

// The sums of layer j, normalised where the cell has a norm; and their gradients.
DEVICE offset layer_slot(Block block, int j, int s) { return (offset)j * u.blocks * u.slots + slot(block, s); }
DEVICE real* kept_preact(Block block, int j, int s) { return u.preact + layer_slot(block, j, s) * P4; }
DEVICE real* kept_preact_grad(Block block, int j, int s) { return u.preact_grad + layer_slot(block, j, s) * P4; }
DEVICE real* kept_proposal(Block block, int s) { return u.proposal + slot(block, s) * Q4; }
DEVICE real* kept_proposal_grad(Block block, int s) { return u.proposal_grad + slot(block, s) * Q4; }

// One tap of the neighbourhood of slot s: the channels of a pixel.
DEVICE const real* neighbourhood(Block block, int s, int tap) {
  return u.pixels + u.corner[slot(block, s)] + tap_pixel(tap) * C4;
}

#include "states.h"

DEVICE real* row_scale(Block block, int j, int r) { return u.row_scale + layer_slot(block, j, slot_of(r)); }

// How many threads before this one are `in`, and in *total how many of the block are.
DEVICE int count_before(bool in, int* total) {
  SHARED(int, counts, THREADS / WARP);
  unsigned votes = votes_of_warp(in);
  int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, before = 0, all = 0;
  if (lane == 0) counts[warp] = count_bits(votes);
  SYNC();
  for (int other = 0; other * WARP < blockDim.x; ++other) {
    if (other == warp) before = all;
    all += counts[other];
  }
  *total = all;
  SYNC();  // all have read the counts
  return before + count_bits(votes & ((1u << lane) - 1));
}

// List the live cells of sample b, in order: the work of a block.
PHASE void find_live(int b) {
  int found = 0;
  for (int first = 0; first < cells(); first += blockDim.x) {
    int site = first + threadIdx.x, total;
    bool lives = site < cells() && alive(b, site);
    int at = count_before(lives, &total);
    if (lives) u.live[(offset)b * cells() + found + at] = site;
    found += total;
  }
  if (threadIdx.x == 0) u.live_count[b] = found;
}

// The block's share of the cells that can be rows, and the site of the k-th of these cells.
DEVICE Range possible_rows(Block block) {
  return share(norm_over_cells() ? cells() : u.live_count[block.sample], block);
}
DEVICE int possible_site(Block block, int k) {
  return norm_over_cells() ? k : u.live[(offset)block.sample * cells() + k];
}

// Copy a pixel; eight loads are under way before the first store.
DEVICE void copy_pixel(const real* from, real* to) {
  for (int c = 0; c < C4; c += 32) {
    Four x[8];
    for (int l = 0; l < 8; ++l)
      if (c + 4 * l < C4) x[l] = load(from + c + 4 * l);
    for (int l = 0; l < 8; ++l)
      if (c + 4 * l < C4) save(to + c + 4 * l, x[l]);
  }
}

// Where the gradient of a row's neighbourhood is: of a depthwise cell the row's slot, else a place among this step's.
DEVICE int source(Block block, int r, int place) {
  return DEPTHWISE ? (int)slot(block, r) : block.number * u.cap + place;
}

// The slot of the block's first row of step i of its sample, where slots are kept.
DEVICE int* start(Block block, int i) {
  return u.starts + ((offset)block.sample * u.steps + i) * u.team + block.rank;
}

// List the block's rows of step i, from slot `used` on. If `moves`, copy the cells that do not update.
PHASE void list_rows(Block block, int i, int used, bool moves) {
  Range mine = possible_rows(block);
  int b = block.sample, rows = 0;
  for (int first = mine.from; first < mine.to; first += blockDim.x) {
    int k = first + threadIdx.x, total;
    bool inside = k < mine.to;
    int site = inside ? possible_site(block, k) : 0;
    bool updates = inside && fires(i, b, site) && alive(b, site);
    bool row = inside && (updates || norm_over_cells());
    int r = used + rows + (norm_over_cells() ? threadIdx.x : count_before(row, &total));
    if (norm_over_cells()) total = mine.to - first < blockDim.x ? mine.to - first : blockDim.x;
    if (inside) u.source_of[(offset)b * cells() + site] = row ? source(block, r, r - used) : -1;
    if (row) {
      u.site[slot(block, r)] = site;
      u.pixel[slot(block, r)] = padded(b, site);
      u.corner[slot(block, r)] = corner(i, b, site);
      u.updates[slot(block, r)] = updates;
    }
    if (moves && inside && !updates) {
      offset own = tap_pixel(4) * C4;
      copy_pixel(pixel_of(block, i, site), u.pixels + corner(i + 1, b, site) + own);
    }
    rows += total;
  }
  if (threadIdx.x == 0) {
    u.used[block.number] = used;
    u.rows[block.number] = rows;
  }
  SYNC();
}

// One tap of the neighbourhood of row r of a depthwise cell, after the mix.
DEVICE const real* mixed(Block block, int r, int tap) {
  return u.mixed + ((offset)u.pixel[slot(block, r)] + tap_pixel(tap)) * P4;
}
