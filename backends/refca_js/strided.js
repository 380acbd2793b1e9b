/**
 * Strided layers between an image of sH x sW pixels and a grid of H x W cells: 3x3, stride 2, no bias.
 *
 * The window of cell (y, x) starts at pixel (2y, 2x); beyond the image everything is zero. The decoder's layers are
 * the adjoints of such layers. Source: `refca/definition/strided.py`.
 */

import { decoders, encoders } from "./cell.js";

/**
 * The environment (B, H, W, E) of an image (B, sH, sW, K); at stride 1 the image itself.
 *
 * @param {import("./cell.js").Cell} cell @param {import("./cell.js").Params} params
 * @param {Float32Array} image @param {number} batch @param {number} height @param {number} width
 */
export function encode(cell, params, image, batch, height, width) {
  for (const name of encoders(cell)) {
    image = convStride2(image, params[name], batch, height, width);
    height /= 2;
    width /= 2;
  }
  return image;
}

/**
 * The labels' numbers (B, sH, sW, L) of a state (B, H, W, D).
 *
 * @param {import("./cell.js").Cell} cell @param {import("./cell.js").Params} params
 * @param {Float32Array} state @param {number} batch @param {number} height @param {number} width
 */
export function decode(cell, params, state, batch, height, width) {
  for (const name of decoders(cell)) {
    state = convTransposeStride2(state, params[name], batch, height, width);
    height *= 2;
    width *= 2;
  }
  return state;
}

/**
 * @param {Float32Array} x (B, height, width, C) @param {import("./cell.js").Tensor} weight (3, 3, C, N)
 * @param {number} batch @param {number} height @param {number} width
 */
function convStride2(x, weight, batch, height, width) {
  const [, , C, N] = weight.shape;
  const [rows, columns] = [height / 2, width / 2];
  const output = new Float32Array(batch * rows * columns * N);
  const sums = new Float64Array(N);
  for (let b = 0; b < batch; b++) {
    for (let y = 0; y < rows; y++) {
      for (let column = 0; column < columns; column++) {
        sums.fill(0);
        for (let i = 0; i < 3 && 2 * y + i < height; i++) {
          for (let j = 0; j < 3 && 2 * column + j < width; j++) {
            const pixel = ((b * height + 2 * y + i) * width + 2 * column + j) * C;
            for (let c = 0; c < C; c++) {
              const start = ((i * 3 + j) * C + c) * N;
              for (let n = 0; n < N; n++) sums[n] += x[pixel + c] * weight.data[start + n];
            }
          }
        }
        output.set(sums, ((b * rows + y) * columns + column) * N);
      }
    }
  }
  return output;
}

/**
 * @param {Float32Array} x (B, height, width, C) @param {import("./cell.js").Tensor} weight (3, 3, N, C)
 * @param {number} batch @param {number} height @param {number} width
 */
function convTransposeStride2(x, weight, batch, height, width) {
  const [, , N, C] = weight.shape;
  const sums = new Float64Array(batch * 4 * height * width * N);
  for (let b = 0; b < batch; b++) {
    for (let y = 0; y < height; y++) {
      for (let column = 0; column < width; column++) {
        const from = ((b * height + y) * width + column) * C;
        for (let i = 0; i < 3 && 2 * y + i < 2 * height; i++) {
          for (let j = 0; j < 3 && 2 * column + j < 2 * width; j++) {
            const to = ((b * 2 * height + 2 * y + i) * 2 * width + 2 * column + j) * N;
            for (let n = 0; n < N; n++) {
              const start = ((i * 3 + j) * N + n) * C;
              for (let c = 0; c < C; c++) sums[to + n] += x[from + c] * weight.data[start + c];
            }
          }
        }
      }
    }
  }
  return Float32Array.from(sums);
}
