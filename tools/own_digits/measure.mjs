/**
 * What the cells say of pictures that `measure.py` wrote, each prepared as the playground prepares an imported picture.
 *
 *     node measure.mjs PICTURES.safetensors WEIGHTS.safetensors STEPS > ANSWERS.json
 */

import { readFileSync } from "node:fs";

import { Automaton, countLabels, makeCell, predictedLabels, readout, readSafetensors, Streams } from "../../backends/refca_js/index.js";
import { digitFromPicture } from "../../refca/playground_page/site/digit_picture.js";

const [pictures, weights, steps] = process.argv.slice(2);
const { tensors: params, metadata } = readSafetensors(readFileSync(weights));
const cell = makeCell(JSON.parse(metadata.cell));
const automaton = new Automaton(cell, params, { height: 28, width: 28 });
const answers = Object.entries(readSafetensors(readFileSync(pictures)).tensors).map(([name, { shape, data }]) => {
  const digit = digitFromPicture({ height: shape[0], width: shape[1], data });
  if (!digit) return { name, counts: null };
  const streams = new Streams(0);
  automaton.initialise(streams);
  automaton.setImage(Float32Array.from(digit, (ink) => ink / 255));
  for (let t = 0; t < Number(steps); t++) automaton.step(streams, t);
  const counts = countLabels(predictedLabels(readout(automaton), cell.labels), automaton.live, cell.labels);
  return { name, counts, digit: Array.from(digit) };
});
console.log(JSON.stringify(answers));
