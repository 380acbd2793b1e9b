// A processor in the place of CUDA: the threads of a team of blocks take turns, each as far as its next barrier.
//
// A block runs as far ahead of the others as it can, its threads first in one order, then in the other, and so do
// blocks. Most numbers that are read without a barrier after they were written are therefore wrong, and tests see
// it. It is an error if some threads of a block never reach a barrier, or if threads wait for each other for ever.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <vector>

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
#define SHARED(type, name, count)                  \
  static const int name##_site = emulator::sites++; \
  type* name = (type*)emulator::shared(name##_site, sizeof(type) * (count))

struct Dimension {
  int x;
};
static Dimension threadIdx, blockIdx, blockDim, gridDim;

namespace emulator {

enum Waiting { NOT, BLOCK, EVERYONE };

struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  int block, thread;
  Waiting waiting;
  bool done;
};

typedef void (*Kernel)(int, int, int);

static std::vector<Fiber> fibers;
static ucontext_t scheduler;
static Fiber* now;
static int sites;
static std::map<std::pair<int, int>, std::vector<char>> memory;  // by block and declaration
static Kernel kernel;
static int arguments[3];

static void wait(Waiting what) {
  now->waiting = what;
  swapcontext(&now->context, &scheduler);
}

static void* shared(int site, size_t bytes) {
  std::vector<char>& bytes_ = memory[{now->block, site}];
  if (bytes_.size() < bytes) bytes_.assign(bytes, (char)0xff);  // NaN
  return bytes_.data();
}

static void begin() {
  kernel(arguments[0], arguments[1], arguments[2]);
  now->done = true;
  swapcontext(&now->context, &scheduler);
}

static void resume(Fiber& fiber) {
  now = &fiber;
  threadIdx.x = fiber.thread;
  blockIdx.x = fiber.block;
  swapcontext(&scheduler, &fiber.context);
}

// Release the threads of a range if all have reached a barrier of this kind. Returns whether they had.
static bool release(Waiting what, int first, int last) {
  for (int i = first; i < last; ++i)
    if (fibers[i].done || fibers[i].waiting != what) return false;
  for (int i = first; i < last; ++i) fibers[i].waiting = NOT;
  return true;
}

// Run the threads of a block as far as they come without other blocks. Returns whether any moved.
static bool run_block(int first, int threads) {
  static bool up;  // the direction changes with every call
  bool moved = false;
  for (up = !up;; up = !up) {
    for (int k = 0; k < threads; ++k) {
      Fiber& fiber = fibers[first + (up ? k : threads - 1 - k)];
      if (fiber.done || fiber.waiting != NOT) continue;
      resume(fiber);
      moved = true;
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

}  // namespace emulator

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
