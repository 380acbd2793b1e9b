// What a warp's products consist of, on a GPU and in the emulator.
#pragma once

constexpr int WARP = 32;                // threads that are its lanes
constexpr unsigned TF32 = 0xffffe000;   // the bits of a float32 that TF32 has too
constexpr unsigned TF32_HALF = 0x1000;  // half of the lowest of them

// A number as the sum of two TF32 numbers, except that `low` may have bits that TF32 lacks and products cut off.
struct Split {
  float high, low;
};
