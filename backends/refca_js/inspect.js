/** One cell's step, opened up: every number from its neighbourhood to its proposal, computed in the plainest way. */

import { sigmoid } from "./automaton.js";

/**
 * @typedef {object} Inspection
 * @property {number} index the cell, y*W + x
 * @property {boolean} live
 * @property {boolean} updated whether it fired, and lives, in the last step
 * @property {Float32Array} seen (9, C): its 3x3 neighbourhood row by row, environment channels first
 * @property {Float32Array[]} hidden the hidden values (P,) of each layer
 * @property {Float32Array} update (D,) the proposal without noise
 * @property {number | null} gate how far it would reset itself, from 0 to 1; null without a gate
 */

/**
 * What the cell sees now, and would compute if it fired. A norm over cells takes the statistics of the last step.
 *
 * @param {import("./automaton.js").Automaton} automaton of one sample
 * @param {number} index
 * @returns {Inspection}
 */
export function inspectCell(automaton, index) {
  const { cell, params, channels, width, grid, live, updates, updateCount } = automaton;
  const { hidden_width: P, state_channels: D } = cell;
  const seen = new Float32Array(9 * channels);
  const corner = automaton.place(index) - (width + 2) - 1;
  for (let dy = 0; dy < 3; dy++) {
    const start = (corner + dy * (width + 2)) * channels;
    seen.set(grid.subarray(start, start + 3 * channels), dy * 3 * channels);
  }
  const hidden = [rectify(automaton, 0, perceive(automaton, seen))];
  for (let i = 0; i < cell.hidden_layers; i++) {
    const sums = affine(hidden[i], params[`hidden.${i}.weight`].data, params[`hidden.${i}.bias`]?.data, P);
    hidden.push(rectify(automaton, i + 1, sums));
  }
  const last = hidden[hidden.length - 1];
  return {
    index,
    live: live[index] === 1,
    updated: updates.subarray(0, updateCount).includes(index),
    seen,
    hidden,
    update: affine(last, params["update.weight"].data, params["update.bias"]?.data, D),
    gate: cell.resettable ? sigmoid(affine(last, params["gate.weight"].data, undefined, 1)[0]) : null,
  };
}

/** The first layer's sums. @param {import("./automaton.js").Automaton} automaton @param {Float32Array} seen */
function perceive({ cell, params, channels }, seen) {
  const P = cell.hidden_width;
  const bias = params["perceive.bias"]?.data;
  if (!cell.depthwise) return affine(seen, params["perceive.weight"].data, bias, P);
  const sums = bias ? bias.slice() : new Float32Array(P);
  const filters = params["perceive.depthwise"].data;
  for (let tap = 0; tap < 9; tap++) {
    const x = seen.subarray(tap * channels, (tap + 1) * channels);
    const mixed = affine(x, params["perceive.mix"].data, undefined, P);
    for (let p = 0; p < P; p++) sums[p] += mixed[p] * filters[tap * P + p];
  }
  return sums;
}

/**
 * Normalise, with the statistics of the last step, and rectify.
 *
 * @param {import("./automaton.js").Automaton} automaton @param {number} layer @param {Float32Array} sums
 */
function rectify({ cell, layers }, layer, sums) {
  let { mean, scale } = layers[layer].statistics;
  if (cell.norm === "channel") {
    const centre = sums.reduce((a, b) => a + b, 0) / sums.length;
    const variance = sums.reduce((a, b) => a + (b - centre) ** 2, 0) / sums.length;
    mean = new Float64Array(sums.length).fill(centre);
    scale = new Float64Array(sums.length).fill(1 / Math.sqrt(variance + 1e-5));
  }
  return sums.map((sum, p) => Math.max(0, cell.norm === "none" ? sum : (sum - mean[p]) * scale[p]));
}

/**
 * x @ weight + bias.
 *
 * @param {Float32Array} x @param {Float32Array} weight (x.length, columns) @param {Float32Array | undefined} bias
 * @param {number} columns
 */
function affine(x, weight, bias, columns) {
  const sums = new Float64Array(columns);
  if (bias) sums.set(bias);
  for (let k = 0; k < x.length; k++) {
    for (let p = 0; p < columns; p++) sums[p] += x[k] * weight[k * columns + p];
  }
  return Float32Array.from(sums);
}
