// A processor in the place of CUDA: the threads of a team of blocks take turns, each as far as its next barrier.
//
// A block runs as far ahead of the others as it can, its threads first in one order, then in the other, and so do
// blocks, and warps within a block. Most numbers that are read without a barrier after they were written are therefore wrong, and tests see
// it. It is an error if some threads of a block never reach a barrier, or if threads wait for each other for ever.
#pragma once

#undef _FORTIFY_SOURCE  // it takes a jump to another stack for an error
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <vector>

#include "warps.h"

using std::cos;
using std::exp;
using std::log;
using std::log1p;
using std::sin;
using std::sqrt;

#define DEVICE static inline
#define PHASE static
#define CONSTANT __attribute__((visibility("default")))
#define KERNEL extern "C" __attribute__((visibility("default"))) void
#define TEAM_KERNEL KERNEL
#define SYNC() emulator::wait(emulator::BLOCK)
#define TEAM_SYNC() emulator::wait(emulator::EVERYONE)
#define TEAM_ARRIVE() emulator::meet(true)
#define TEAM_WAIT() emulator::meet(false)
#define SHARED(type, name, count)                  \
  static const int name##_site = emulator::sites++; \
  type* name = (type*)emulator::shared(name##_site, sizeof(type) * (count), emulator::now->block)
#define SHARED_AT_LAUNCH SHARED

struct Dimension {
  int x;
};
static Dimension threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

enum Waiting { NOT, LANES, BLOCK, EVERYONE };

struct Fiber {
  ucontext_t context;  // to begin with; from then on `where`, as jumps are faster
  jmp_buf where;
  bool begun;
  std::vector<char> stack;
  int block, thread;
  Waiting waiting;
  bool done;
  alignas(16) char given[2][64];  // to the other lanes of the warp, in turn
  int turn;
  int meetings;  // with TEAM_ARRIVE and TEAM_WAIT
};

typedef void (*Kernel)(int, int, int);

static std::vector<Fiber> fibers;
static ucontext_t unused;
static jmp_buf scheduler;
static Fiber* now;
static int sites;
static std::map<std::pair<int, int>, std::vector<char>> memory;  // by block and declaration
static Kernel kernel;
static int arguments[3];

static void wait(Waiting what) {
  now->waiting = what;
  if (!_setjmp(now->where)) _longjmp(scheduler, 1);
}

// Wait at TEAM_ARRIVE and at TEAM_WAIT in turn: a thread that does too soon what has to come after the one or the other
// does it before all others, one time in two.
static void meet(bool arriving) {
  if (arriving) ++now->meetings;
  if (arriving == (now->meetings % 2)) wait(EVERYONE);
}

// What each lane of a warp gives. Two places are used in turn: who gives for the second time has waited for all that
// read what it gave before.
template <class Given>
struct Exchange {
  Fiber* first;
  int turn;

  explicit Exchange(Given mine) : first(now - now->thread % WARP), turn(now->turn ^= 1) {
    static_assert(sizeof(Given) <= sizeof now->given[0]);
    std::memcpy(now->given[turn], &mine, sizeof mine);
    wait(LANES);
  }

  const Given& operator[](int lane) const { return *(const Given*)first[lane].given[turn]; }
};

static void* shared(int site, size_t bytes, int block) {
  std::vector<char>& bytes_ = memory[{block, site}];
  if (bytes_.size() < bytes) bytes_.assign(bytes, (char)0xff);  // NaN
  return bytes_.data();
}

// Where a block of the team has what this block has at `mine`.
static void* in_block(int rank, void* mine) {
  for (auto& [key, bytes] : memory) {
    std::ptrdiff_t at = (char*)mine - bytes.data();
    if (key.first == now->block && at >= 0 && at < (std::ptrdiff_t)bytes.size())
      return (char*)shared(key.second, bytes.size(), fibers[0].block + rank) + at;
  }
  std::abort();
}

static void begin() {
  kernel(arguments[0], arguments[1], arguments[2]);
  now->done = true;
  _longjmp(scheduler, 1);
}

static void resume(Fiber& fiber) {
  now = &fiber;
  threadIdx.x = fiber.thread;
  blockIdx.x = fiber.block;
  if (_setjmp(scheduler)) return;
  if (fiber.begun) _longjmp(fiber.where, 1);
  fiber.begun = true;
  swapcontext(&unused, &fiber.context);
}

// Release the threads of a range if all have reached a barrier of this kind. Returns whether they had.
static bool release(Waiting what, int first, int last) {
  for (int i = first; i < last; ++i)
    if (fibers[i].done || fibers[i].waiting != what) return false;
  for (int i = first; i < last; ++i) fibers[i].waiting = NOT;
  return true;
}

// Run the threads of a warp as far as they come without other warps. Returns whether any moved.
static bool run_warp(int first, int threads) {
  static bool up;  // the direction changes with every call
  bool moved = false;
  for (up = !up;; up = !up) {
    for (int k = 0; k < threads; ++k) {
      Fiber& fiber = fibers[first + (up ? k : threads - 1 - k)];
      if (fiber.done || fiber.waiting != NOT) continue;
      resume(fiber);
      moved = true;
    }
    if (!release(LANES, first, first + threads)) return moved;
  }
}

// Run the warps of a block as far as they come without other blocks. Returns whether any moved.
static bool run_block(int first, int threads) {
  static bool up;
  bool moved = false;
  int warps = (threads + WARP - 1) / WARP;
  for (up = !up;; up = !up) {
    for (int k = 0; k < warps; ++k) {
      int from = (up ? k : warps - 1 - k) * WARP;
      moved |= run_warp(first + from, std::min(WARP, threads - from));
    }
    if (!release(BLOCK, first, first + threads)) return moved;
  }
}

static int run_team(int first_block, int blocks, int threads) {
  size_t stack = 1 << 16;
  fibers.resize(blocks * threads);
  memory.clear();
  for (size_t i = 0; i < fibers.size(); ++i) {
    Fiber& fiber = fibers[i];
    fiber.stack.resize(stack);
    fiber.block = first_block + i / threads;
    fiber.thread = i % threads;
    fiber.waiting = NOT;
    fiber.done = false;
    fiber.begun = false;
    fiber.turn = fiber.meetings = 0;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = stack;
    makecontext(&fiber.context, begin, 0);
  }
  for (bool up = true;; up = !up) {
    bool moved = false, left = false;
    for (int k = 0; k < blocks; ++k) moved |= run_block((up ? k : blocks - 1 - k) * threads, threads);
    moved |= release(EVERYONE, 0, fibers.size());
    for (Fiber& fiber : fibers) left |= !fiber.done;
    if (!left) return 0;
    if (!moved) return 1;
  }
}

// A number of a float32's bits towards zero, as tensor cores round sums.
static float towards_zero(double x) {
  float nearest = (float)x;
  return std::fabs((double)nearest) > std::fabs(x) ? std::nextafterf(nearest, 0) : nearest;
}

}  // namespace emulator

DEVICE unsigned bits_of(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
DEVICE float of_bits(unsigned x) {
  float number;
  std::memcpy(&number, &x, sizeof number);
  return number;
}
template <class Number>
DEVICE void save_in(int rank, Number* mine, Number x) {
  *(Number*)emulator::in_block(rank, mine) = x;
}
DEVICE int count_bits(unsigned x) { return __builtin_popcount(x); }

// Bit l is what lane l gives; a block's last warp may have fewer lanes.
DEVICE unsigned votes_of_warp(bool in) {
  emulator::Exchange<bool> all(in);
  unsigned votes = 0;
  int lanes = std::min(WARP, blockDim.x - threadIdx.x / WARP * WARP);
  for (int l = 0; l < lanes; ++l) votes |= (unsigned)all[l] << l;
  return votes;
}

#if TENSOR_CORES
// As mma.m16n8k8 does it three times, with the lanes' numbers where PTX's description has them: with g = lane / 4
// and t = lane % 4, a_i is a[g + i % 2 · 8][t + i / 2 · 4], b_i is b[t + 4i][g], and sum i is of row g + i / 2 · 8 and
// column 2t + i % 2. Bits beyond TF32 do not count, and sums are rounded towards zero, at worst.
struct Factors {
  Split a[4], b[2];
};

DEVICE void add_product(float* sums, const Split* a, const Split* b) {
  emulator::Exchange<Factors> all({{a[0], a[1], a[2], a[3]}, {b[0], b[1]}});
  int lane = threadIdx.x % WARP;
  for (int i = 0; i < 4; ++i) {
    int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    double parts[3] = {};  // low times high, high times low, high times high
    for (int k = 0; k < 8; ++k) {
      Split x = all[row % 8 * 4 + k % 4].a[row / 8 + k / 4 * 2], y = all[column * 4 + k % 4].b[k / 4];
      float left[3] = {x.low, x.high, x.high}, right[3] = {y.high, y.low, y.high};
      for (int j = 0; j < 3; ++j)
        parts[j] += (double)of_bits(bits_of(left[j]) & TF32) * of_bits(bits_of(right[j]) & TF32);
    }
    for (int j = 0; j < 3; ++j) sums[i] = emulator::towards_zero(sums[i] + parts[j]);
  }
}
#endif

// Run a kernel. Returns 1 if its threads cannot go on.
extern "C" __attribute__((visibility("default"))) int launch(
    emulator::Kernel kernel, int blocks, int threads, int team, int a, int b, int c) {
  emulator::kernel = kernel;
  int given[] = {a, b, c};
  std::copy(given, given + 3, emulator::arguments);
  blockDim.x = threads;
  gridDim.x = blocks;
  for (int first = 0; first < blocks; first += team)
    if (emulator::run_team(first, std::min(team, blocks - first), threads)) return 1;
  return 0;
}
