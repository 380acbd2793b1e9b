/**
 * The randomness of a step, as data: recorded, or drawn from counter-based streams.
 *
 * Both sources answer the same three questions about one site (sample b, cell index y*W + x) at step t:
 *
 *     fires(t, b, site)                    whether the cell fires
 *     noise(t, b, site, values)            standard normals for the residual noise, one a state channel
 *     resetNoise(t, b, site, values)       standard normals that a reset gate resets to
 *
 * so that only cells that update cost anything. Source: `refca/definition/randomness.py`.
 */

import { InvalidInput } from "./errors.js";
import { philox } from "./philox.js";

const FIRE = 0; // purposes, in the upper half of the last counter word
const NOISE = 1;
const RESET = 2;
const INITIAL = 3;
const FOLD = 4;
const TWO_TO_32 = 2 ** 32;

/** Philox streams: a draw depends on (seed, sample, cell, channel, step) and on nothing else. */
export class Streams {
  /**
   * @param {bigint | number | string} seed an integer from 0 to 2**64 - 1
   * @param {number} firstSample the number of sample 0 in the global batch
   */
  constructor(seed, firstSample = 0) {
    this.seed = asInteger(seed, "seed", 2n ** 64n);
    this.firstSample = Number(asInteger(firstSample, "first_sample", 2n ** 32n));
    this.key0 = Number(this.seed & 0xffffffffn);
    this.key1 = Number(this.seed >> 32n);
    this.words = new Uint32Array(4);
    this.threshold = 0;
  }

  /**
   * Independent streams for training step i.
   *
   * @param {bigint | number} i
   */
  fold(i) {
    const counter = asInteger(i, "the training step", 2n ** 64n);
    const low = Number(counter & 0xffffffffn);
    philox(this.words, low, Number(counter >> 32n), 0, FOLD << 16, this.key0, this.key1);
    return new Streams(BigInt(this.words[0]) + (BigInt(this.words[1]) << 32n), this.firstSample);
  }

  /**
   * Prepare for a cell and check that these streams have what it needs: they always have.
   *
   * @param {import("./cell.js").Cell} cell
   */
  prepare(cell) {
    this.threshold = roundHalfToEven(cell.fire_rate * TWO_TO_32);
  }

  /** @param {number} t @param {number} b @param {number} site */
  fires(t, b, site) {
    this.draw(FIRE, 0, t, b, site);
    return this.words[0] < this.threshold;
  }

  /** @param {number} t @param {number} b @param {number} site @param {Float32Array} values */
  noise(t, b, site, values) {
    this.normals(NOISE, t, b, site, values);
  }

  /** @param {number} t @param {number} b @param {number} site @param {Float32Array} values */
  resetNoise(t, b, site, values) {
    this.normals(RESET, t, b, site, values);
  }

  /** The initial state of one cell. @param {number} b @param {number} site @param {Float32Array} values */
  initial(b, site, values) {
    this.normals(INITIAL, 0, b, site, values);
  }

  /**
   * Fill `values` with standard normals: two Box-Muller pairs from each block of four channels.
   *
   * @param {number} purpose @param {number} t @param {number} b @param {number} site
   * @param {Float32Array} values
   */
  normals(purpose, t, b, site, values) {
    const { words } = this;
    const channels = values.length;
    for (let channel = 0; channel < channels; channel += 2) {
      const pair = channel & 2; // 0: the first two words of the block; 2: the last two
      if (pair === 0) this.draw(purpose, channel >> 2, t, b, site);
      const radius = Math.sqrt(-2 * Math.log(uniform(words[pair])));
      const angle = 2 * Math.PI * uniform(words[pair + 1]);
      values[channel] = radius * Math.cos(angle);
      if (channel + 1 < channels) values[channel + 1] = radius * Math.sin(angle);
    }
  }

  /** @param {number} purpose @param {number} block @param {number} t @param {number} b @param {number} site */
  draw(purpose, block, t, b, site) {
    philox(this.words, site, this.firstSample + b, t, (purpose << 16) + block, this.key0, this.key1);
  }
}

/** Randomness made elsewhere; step t reads entry t of each array. */
export class Recorded {
  /**
   * @param {{shape: number[], data: ArrayLike<number>}} fire (T, B, H, W), 0 or 1
   * @param {{shape: number[], data: Float32Array} | null} noise (T, B, H, W, D)
   * @param {{shape: number[], data: Float32Array} | null} reset (T, B, H, W, D)
   */
  constructor(fire, noise = null, reset = null) {
    this.fire = fire;
    this.noiseValues = noise;
    this.resetValues = reset;
    const [steps, batch = 0, height = 0, width = 0] = fire.shape;
    this.steps = steps;
    this.batch = batch;
    this.sites = height * width;
  }

  /**
   * Throw InvalidInput unless the arrays are those that this cell needs.
   *
   * @param {import("./cell.js").Cell} cell
   * @param {{firstStep: number, steps: number, shape: number[]}} unroll shape: (B, H, W)
   */
  prepare(cell, { firstStep, steps, shape }) {
    if (String(this.fire.shape.slice(1)) !== String(shape) || this.fire.shape.length !== 4) {
      throw new InvalidInput(`fire must have shape (T, ${shape.join(", ")}), got (${this.fire.shape.join(", ")})`);
    }
    if (steps && firstStep + steps > this.steps) {
      throw new InvalidInput(
        `steps ${firstStep} to ${firstStep + steps - 1} need as many recorded masks, got ${this.steps}`,
      );
    }
    if (this.resetValues && !cell.resettable) {
      throw new InvalidInput("reset must be left out: this cell has no reset gate");
    }
    const needed = /** @type {const} */ ([
      ["noise", this.noiseValues, cell.noise > 0],
      ["reset", this.resetValues, cell.resettable],
    ]);
    for (const [name, array, used] of needed) {
      const expected = [this.steps, ...shape, cell.state_channels];
      if (used && String(array?.shape) !== String(expected)) {
        const got = array ? `(${array.shape.join(", ")})` : "none";
        throw new InvalidInput(`${name} must have shape (${expected.join(", ")}) for this cell, got ${got}`);
      }
    }
  }

  /** @param {number} t @param {number} b @param {number} site */
  fires(t, b, site) {
    return this.fire.data[(t * this.batch + b) * this.sites + site] !== 0;
  }

  /** @param {number} t @param {number} b @param {number} site @param {Float32Array} values */
  noise(t, b, site, values) {
    this.copy(this.noiseValues, t, b, site, values);
  }

  /** @param {number} t @param {number} b @param {number} site @param {Float32Array} values */
  resetNoise(t, b, site, values) {
    this.copy(this.resetValues, t, b, site, values);
  }

  /**
   * @param {{data: Float32Array} | null} array @param {number} t @param {number} b @param {number} site
   * @param {Float32Array} values
   */
  copy(array, t, b, site, values) {
    if (!array) throw new InvalidInput("these recorded arrays lack the numbers that the cell asks for");
    const start = ((t * this.batch + b) * this.sites + site) * values.length;
    for (let c = 0; c < values.length; c++) values[c] = array.data[start + c];
  }
}

/** A number in (0, 1), never 0 nor 1, from the upper 24 bits of a word. @param {number} word */
function uniform(word) {
  return ((word >>> 8) + 0.5) * 2 ** -24;
}

/** The nearest integer, the even one of two that are equally near. @param {number} x */
function roundHalfToEven(x) {
  const below = Math.floor(x);
  const rest = x - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

/** @param {bigint | number | string} value @param {string} name @param {bigint} limit */
function asInteger(value, name, limit) {
  let integer;
  try {
    integer = BigInt(value);
  } catch {
    throw new InvalidInput(`${name} must be an integer, got ${value}`);
  }
  if (integer < 0n || integer >= limit) {
    throw new InvalidInput(`${name} must be an integer from 0 to ${limit - 1n}, got ${value}`);
  }
  return integer;
}
