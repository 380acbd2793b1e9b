// The rows that the phases of a step work on, and the states that these rows see: in the device's memory, or if
// STATES_AT_HAND in a block's shared memory. `schedule.py` says when.
//
// Shared memory then has, from its start: the layers and proposals of a part of a step's rows, the sites and corners of
// these rows; for the forward pass the parameters, the pixels of the sample before the step, with their border, and in a
// cluster the block's new states; for the backward pass gradients of the layers and proposals, and the transposes. A
// block works on one part of its rows after another. It copies what it computes to the slots, and new states to the
// pixels in the device's memory.
//
// The next step sees the new states: a block that is alone takes them from the device's memory. The blocks of a
// cluster SEND them to each other's shared memory when all have seen the states before.
#pragma once

#define SEND (STATES_AT_HAND && TEAM > 1)

#if STATES_AT_HAND

// The slots of the rows in work, which are rows 0, 1, ...; `place` is the number of the first among the step's rows.
struct Part {
  int from, to, place;
};
DEVICE Part* part() {
  SHARED(Part, part, 1);
  return part;
}
DEVICE int slot_of(int r) { return part()->from + r; }
DEVICE Range at_work(Block block) { return {0, part()->to - part()->from}; }

DEVICE real* preact(Block block, int j, int r) { return shared_memory() + (j * u.part + r) * P4; }
DEVICE real* proposal(Block block, int r) { return shared_memory() + u.part * (N + 1) * P4 + r * Q4; }
DEVICE int* sites() { return (int*)(shared_memory() + u.part * row_size()); }
DEVICE int* corners() { return sites() + u.part; }
DEVICE real* preact_grad(Block block, int j, int r) {
  return shared_memory() + u.part * (row_size() + 2) + (j * u.part + r) * P4;
}
DEVICE real* proposal_grad(Block block, int r) {
  return shared_memory() + u.part * (row_size() + 2 + (N + 1) * P4) + r * Q4;
}
DEVICE int site_of(Block block, int r) { return sites()[r]; }
DEVICE bool updates(Block block, int r) { return true; }  // other cells are no rows

// The sample's pixels, of the forward pass.
DEVICE real* pixels_at_hand() { return weights_at_hand() + u.weights; }
DEVICE int corner_at_hand(int site) { return padded(0, site) * C4; }
DEVICE const real* pixel_of(Block block, int i, int site) {
  return pixels_at_hand() + corner_at_hand(site) + tap_pixel(4) * C4;
}

// One tap of the neighbourhood that row r sees.
DEVICE const real* seen(Block block, int r, int tap) { return pixels_at_hand() + corners()[r] + tap_pixel(tap) * C4; }

// Copy the pixels before the first step.
PHASE void fetch_pixels(Block block) {
  copy(u.pixels + pixel(0, block.sample, 0, 0), (u.h + 2) * (u.w + 2) * C4, pixels_at_hand());
  SYNC();
}

#if SEND
// New states of the block's rows of a step, and where these belong among the pixels.
DEVICE real* new_state(int place) { return pixels_at_hand() + (u.h + 2) * (u.w + 2) * C4 + place * ROUNDED(D); }
DEVICE int* new_corners() { return (int*)new_state(u.cap); }

// Prepare to send four channels of the new state of row r.
DEVICE void put_new_state(int r, int quad, Four state) {
  int place = part()->place + r;
  if (quad == 0) new_corners()[place] = corners()[r];
  save(new_state(place) + 4 * quad, state);
}

// Write new states to the pixels of all blocks of the team.
PHASE void send_states(Block block) {
  SYNC();
  TEAM_WAIT();  // all have seen the states before
  int rows = u.rows[block.number];
  for (int item = threadIdx.x; item < rows * D * u.team; item += blockDim.x) {
    int d = item % D, place = item / D % rows, rank = item / D / rows;
    save_in(rank, pixels_at_hand() + new_corners()[place] + tap_pixel(4) * C4 + E + d, new_state(place)[d]);
  }
}

DEVICE void fetch_states(Block block, int i) {}
#else
DEVICE void put_new_state(int r, int quad, Four state) {}
DEVICE void send_states(Block block) {}

// Copy the pixels before step i of all cells that can have changed.
PHASE void fetch_states(Block block, int i) {
  const int* live = u.live + (offset)block.sample * cells();
  for (int item = threadIdx.x; item < u.live_count[block.sample] * (C4 / 4); item += blockDim.x) {
    int site = live[item / (C4 / 4)], c = tap_pixel(4) * C4 + item % (C4 / 4) * 4;
    save(pixels_at_hand() + corner_at_hand(site) + c, load(u.pixels + corner(i, block.sample, site) + c));
  }
  SYNC();
}
#endif

// Call work(last) for one part after another of the rows of a step, of about equal size.
template <class Work>
DEVICE void in_parts(Block block, Work work) {
  int used = u.used[block.number], rows = u.rows[block.number];
  int parts = rows ? (rows + u.part - 1) / u.part : 1, each = ((rows + parts - 1) / parts + 15) / 16 * 16;
  for (int first = 0, k = 0; k < parts; first += each, ++k) {
    int count = rows - first < each ? rows - first : each;
    SYNC();  // all are done with the part before
    if (threadIdx.x == 0) *part() = {used + first, used + first + count, first};
    for (int r = threadIdx.x; r < count; r += blockDim.x) {
      sites()[r] = u.site[slot(block, used + first + r)];
      corners()[r] = corner_at_hand(sites()[r]);
    }
    SYNC();
    work(k + 1 == parts);
  }
}

// Copy the part to its slots, for the backward pass; and back.
PHASE void keep_layers(Block block) {
  int rows = at_work(block).to, s = slot_of(0);
  for (int j = 0; j <= N; ++j) copy(preact(block, j, 0), rows * P4, kept_preact(block, j, s));
  copy(proposal(block, 0), rows * Q4, kept_proposal(block, s));
}
PHASE void fetch_layers(Block block) {
  int rows = at_work(block).to, s = slot_of(0);
  for (int j = 0; j <= N; ++j) copy(kept_preact(block, j, s), rows * P4, preact(block, j, 0));
  copy(kept_proposal(block, s), rows * Q4, proposal(block, 0));
  SYNC();
}

// Copy the part's gradients to its slots, for those of the weights.
PHASE void keep_grads(Block block) {
  int rows = at_work(block).to, s = slot_of(0);
  for (int j = 0; j <= N; ++j) copy(preact_grad(block, j, 0), rows * P4, kept_preact_grad(block, j, s));
  copy(proposal_grad(block, 0), rows * Q4, kept_proposal_grad(block, s));
}

#else

DEVICE int slot_of(int r) { return r; }
DEVICE Range at_work(Block block) {
  int used = u.used[block.number];
  return {used, used + u.rows[block.number]};
}
DEVICE real* preact(Block block, int j, int r) { return kept_preact(block, j, r); }
DEVICE real* preact_grad(Block block, int j, int r) { return kept_preact_grad(block, j, r); }
DEVICE real* proposal(Block block, int r) { return kept_proposal(block, r); }
DEVICE real* proposal_grad(Block block, int r) { return kept_proposal_grad(block, r); }
DEVICE int site_of(Block block, int r) { return u.site[slot(block, r)]; }
DEVICE bool updates(Block block, int r) { return u.updates[slot(block, r)]; }
DEVICE const real* pixel_of(Block block, int i, int site) {
  return u.pixels + corner(i, block.sample, site) + tap_pixel(4) * C4;
}
DEVICE const real* seen(Block block, int r, int tap) { return neighbourhood(block, r, tap); }
DEVICE void fetch_pixels(Block block) {}
DEVICE void put_new_state(int r, int quad, Four state) {}
DEVICE void send_states(Block block) {}
DEVICE void fetch_states(Block block, int i) {}
DEVICE void keep_layers(Block block) {}
DEVICE void fetch_layers(Block block) {}
DEVICE void keep_grads(Block block) {}

template <class Work>
DEVICE void in_parts(Block block, Work work) {
  work(true);
}

#endif
