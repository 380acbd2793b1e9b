/** Neural cellular automata in JavaScript: the engine of the playground, and the program that `exec.js` runs. */

export { Automaton } from "./automaton.js";
export { checkParams, makeCell, paramShapes } from "./cell.js";
export { InvalidInput } from "./errors.js";
export { evolve } from "./evolve.js";
export { inspectCell } from "./inspect.js";
export { philox } from "./philox.js";
export { Recorded, Streams } from "./randomness.js";
export { countLabels, predictedLabels, readout } from "./readout.js";
export { readSafetensors, writeSafetensors } from "./safetensors.js";
