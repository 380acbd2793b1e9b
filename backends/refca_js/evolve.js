/** `evolve` of the contract between backends: steps of a batch from given states, with given randomness. */

import { Automaton } from "./automaton.js";
import { InvalidInput } from "./errors.js";

/**
 * The states after `steps` steps, (B, H, W, D), a new array.
 *
 * @param {import("./cell.js").Cell} cell
 * @param {import("./cell.js").Params} params
 * @param {import("./cell.js").Tensor} image (B, sH, sW, K)
 * @param {import("./cell.js").Tensor} state (B, H, W, D)
 * @param {import("./randomness.js").Streams | import("./randomness.js").Recorded} randomness
 * @param {number} steps
 * @param {{firstStep?: number, kernel?: "simd" | "plain"}} options
 * @returns {import("./cell.js").Tensor}
 */
export function evolve(cell, params, image, state, randomness, steps, { firstStep = 0, kernel } = {}) {
  const [batch, height, width, channels] = image.shape;
  if (image.shape.length !== 4 || channels !== cell.image_channels) {
    throw new InvalidInput(`image must have shape (B, H, W, ${cell.image_channels}), got (${image.shape.join(", ")})`);
  }
  if (!height || !width) throw new InvalidInput(`image has shape (${image.shape.join(", ")}), and so no pixels`);
  if (!(Number.isInteger(steps) && Number.isInteger(firstStep) && steps >= 0 && firstStep >= 0)) {
    throw new InvalidInput(`steps and first_step must be integers of at least 0, got ${steps} and ${firstStep}`);
  }
  if (firstStep + steps > 2 ** 32) {
    throw new InvalidInput(`steps are numbered below 2**32, got ${steps} from ${firstStep} on`);
  }
  const automaton = new Automaton(cell, params, { batch, height, width, kernel });
  const expected = [batch, automaton.height, automaton.width, cell.state_channels];
  if (String(state.shape) !== String(expected)) {
    throw new InvalidInput(`state must have shape (${expected.join(", ")}), got (${state.shape.join(", ")})`);
  }
  automaton.setImage(image.data);
  automaton.setState(state.data);
  randomness.prepare(cell, { firstStep, steps, shape: expected.slice(0, 3) });
  for (let t = firstStep; t < firstStep + steps; t++) automaton.step(randomness, t);
  return { shape: expected, data: automaton.getState() };
}
