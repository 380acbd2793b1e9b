/** What the states say: labels, shares and agreement. Source: `readout` of `refca/definition/step.py`, `metrics.py`. */

import { decode } from "./strided.js";

/**
 * The numbers of the labels, (B, sH, sW, L).
 *
 * @param {import("./automaton.js").Automaton} automaton
 */
export function readout(automaton) {
  const { cell, params, batch, height, width, live, grid, channels, environmentChannels } = automaton;
  const { labels: L, state_channels: D } = cell;
  if (cell.stride > 1) return decode(cell, params, automaton.getState(), batch, height, width);
  const output = new Float32Array(live.length * L);
  const weight = cell.linear_readout ? params["readout.weight"].data : null;
  for (let index = 0; index < live.length; index++) {
    const state = automaton.place(index) * channels + environmentChannels;
    for (let l = 0; l < L; l++) {
      let sum = 0;
      if (weight) for (let c = 0; c < D; c++) sum += grid[state + c] * weight[c * L + l];
      else sum = grid[state + D - L + l];
      output[index * L + l] = sum;
    }
  }
  return output;
}

/**
 * The label of each cell: the channel with the largest number, the lowest of equal ones.
 *
 * @param {Float32Array} numbers (..., L)
 * @param {number} labels L
 */
export function predictedLabels(numbers, labels) {
  const predicted = new Uint8Array(numbers.length / labels);
  for (let i = 0; i < predicted.length; i++) {
    let best = 0;
    for (let l = 1; l < labels; l++) if (numbers[i * labels + l] > numbers[i * labels + best]) best = l;
    predicted[i] = best;
  }
  return predicted;
}

/**
 * The number of live cells with each label.
 *
 * @param {Uint8Array} predicted
 * @param {Uint8Array} live
 * @param {number} labels
 */
export function countLabels(predicted, live, labels) {
  const counts = new Array(labels).fill(0);
  for (let i = 0; i < predicted.length; i++) if (live[i] && predicted[i] < labels) counts[predicted[i]]++;
  return counts;
}
