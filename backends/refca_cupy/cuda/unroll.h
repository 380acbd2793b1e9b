// What the kernels of one call share: sizes, settings and arrays, in one structure of constant memory.
//
// The program that includes this, written by `sources.py`, declares the structure; `layout.py` lists its fields. A
// module that is built for one cell knows that cell's settings when it is compiled (FIXED); a module for any cell
// reads them here.
//
// Letters: B samples, H×W grid, E environment channels, D state channels, P hidden width, N hidden layers,
// Q numbers of a proposal, T steps. A size that ends in 4 is rounded up to a multiple of 4: rows of arrays have
// that length, and zeros beyond their end. A site is the index y·W+x of a cell; a quad is four channels.
#pragma once

typedef unsigned int word;
typedef unsigned long long wide;
typedef long long offset;  // of a number in an array

extern "C" {
CONSTANT Unroll u;
}

#ifdef FIXED
#define E FIXED_e
#define D FIXED_d
#define P FIXED_p
#define N FIXED_n
#define NORM FIXED_norm
#define DEPTHWISE FIXED_depthwise
#define RESIDUAL FIXED_residual
#define RESETTABLE FIXED_resettable
#define NOISY FIXED_noisy
#else
#define E u.e
#define D u.d
#define P u.p
#define N u.n
#define NORM u.norm
#define DEPTHWISE u.depthwise
#define RESIDUAL u.residual
#define RESETTABLE u.resettable
#define NOISY u.noisy
#endif
#define ROUNDED(size) (((size) + 3) / 4 * 4)
#define C4 ROUNDED(E + D)
#define P4 ROUNDED(P)
#define Q4 ROUNDED(D + RESETTABLE)

enum { NO_NORM, CHANNEL, INSTANCE, BATCH };  // `NORMS` of layout.py

// Whether the norm is over cells: then every cell is a row of a step, else only the cells that update.
DEVICE bool norm_over_cells() { return NORM >= INSTANCE; }

// A block works on a share of the cells of one sample. The blocks of one sample are a team.
struct Block {
  int sample, rank, number;
};

struct Range {
  int from, to;
};

DEVICE Range share(int count, Block block) {
  return {(int)((offset)count * block.rank / u.team), (int)((offset)count * (block.rank + 1) / u.team)};
}

DEVICE int cells() { return u.h * u.w; }

// The number of the first channel of a pixel in grid i, counted with a border of one pixel, row y and column x.
DEVICE offset pixel(int i, int b, int y, int x) {
  offset grid = (offset)(i % u.grids) * u.b + b;
  return ((grid * (u.h + 2) + y) * (u.w + 2) + x) * C4;
}

// The pixel in the corner of a cell's neighbourhood: its number in any grid, and where it is in grid i.
DEVICE int padded(int b, int site) { return (b * (u.h + 2) + site / u.w) * (u.w + 2) + site % u.w; }
DEVICE offset corner(int i, int b, int site) { return pixel(i, b, site / u.w, site % u.w); }

// How far a tap of a neighbourhood is from its corner, in pixels.
DEVICE int tap_pixel(int tap) { return tap / 3 * (u.w + 2) + tap % 3; }

DEVICE bool alive(int b, int site) {
  return u.all_alive || u.environment[((offset)b * cells() + site) * E] > u.alive_above;
}
