// What the kernels need of CUDA, under names that `emulator.h` has too.
#pragma once

#include "warps.h"

#define DEVICE __device__ inline
#define PHASE __device__ __noinline__  // compiled once, for all kernels that call it
#define CONSTANT __constant__
#define BOUNDS __launch_bounds__(THREADS, sizeof(real) == 4 && !STATES_AT_HAND ? 2 : 1)
#define KERNEL extern "C" __global__ void BOUNDS
#define SHARED(type, name, count) __shared__ type name[count]
#define SHARED_AT_LAUNCH(type, name, count) extern __shared__ __align__(16) type name[]  // its size is the launch's
#define SYNC() __syncthreads()

DEVICE unsigned bits_of(float x) { return __float_as_uint(x); }
DEVICE float of_bits(unsigned x) { return __uint_as_float(x); }
DEVICE int count_bits(unsigned x) { return __popc(x); }
DEVICE unsigned votes_of_warp(bool in) { return __ballot_sync(~0u, in); }  // bit l: of lane l

#if TENSOR_CORES
DEVICE void add_tf32_product(float* sums, float a0, float a1, float a2, float a3, float b0, float b1) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(bits_of(a0)), "r"(bits_of(a1)), "r"(bits_of(a2)), "r"(bits_of(a3)), "r"(bits_of(b0)), "r"(bits_of(b1)));
}

// A warp's sums (16, 8) += a (16, 8) @ b (8, 8), low times low left out; the smaller products first.
DEVICE void add_product(float* sums, const Split* a, const Split* b) {
  add_tf32_product(sums, a[0].low, a[1].low, a[2].low, a[3].low, b[0].high, b[1].high);
  add_tf32_product(sums, a[0].high, a[1].high, a[2].high, a[3].high, b[0].low, b[1].low);
  add_tf32_product(sums, a[0].high, a[1].high, a[2].high, a[3].high, b[0].high, b[1].high);
}
#endif

#if TEAM > 1
#define TEAM_KERNEL extern "C" __global__ void __cluster_dims__(TEAM, 1, 1) BOUNDS
#define TEAM_ARRIVE() asm volatile("barrier.cluster.arrive.aligned;" ::: "memory")
#define TEAM_WAIT() asm volatile("barrier.cluster.wait.aligned;" ::: "memory")

// Write to the shared memory of a block of the cluster, where this block has `mine`.
DEVICE unsigned address_in(int rank, const void* mine) {
  unsigned at = __cvta_generic_to_shared(mine), there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(at), "r"(rank));
  return there;
}
DEVICE void save_in(int rank, float* mine, float x) {
  asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(address_in(rank, mine)), "f"(x) : "memory");
}
DEVICE void save_in(int rank, double* mine, double x) {
  asm volatile("st.shared::cluster.f64 [%0], %1;" ::"r"(address_in(rank, mine)), "d"(x) : "memory");
}
#else
#define TEAM_ARRIVE() __syncthreads()
#define TEAM_WAIT() (void)0
#define TEAM_KERNEL KERNEL
#endif
#define TEAM_SYNC() \
  do {              \
    TEAM_ARRIVE();  \
    TEAM_WAIT();    \
  } while (0)
