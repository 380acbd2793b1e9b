// What the kernels need of CUDA, under names that `emulator.h` has too.
#pragma once

#define DEVICE __device__ inline
#define PHASE __device__ __noinline__  // compiled once, for all kernels that call it
#define CONSTANT __constant__
#define BOUNDS __launch_bounds__(THREADS, sizeof(real) == 4 ? 2 : 1)
#define KERNEL extern "C" __global__ void BOUNDS
#define SHARED(type, name, count) __shared__ type name[count]
#define SYNC() __syncthreads()

#if TEAM > 1
#define TEAM_KERNEL extern "C" __global__ void __cluster_dims__(TEAM, 1, 1) BOUNDS
#define TEAM_SYNC() asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory")
#else
#define TEAM_KERNEL KERNEL
#define TEAM_SYNC() __syncthreads()
#endif
