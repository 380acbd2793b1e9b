/**
 * The cell: the settings of one automaton, under the names of `refca/definition/cell.py`.
 *
 * Letters: K image channels, E channels of the environment, D state channels, P hidden width, L labels.
 */

import { InvalidInput } from "./errors.js";

/**
 * @typedef {object} Cell
 * @property {number} image_channels K: what the image has, and no cell can change
 * @property {number} state_channels D: what a cell sends to its neighbours
 * @property {number} hidden_width P
 * @property {number} labels L
 * @property {number} hidden_layers 1x1 layers after the 3x3 one
 * @property {number} noise standard deviation of the residual noise; 0: none
 * @property {number} fire_rate the probability with which a cell updates in a step
 * @property {number | null} alive_above a cell is alive if its image exceeds this float32; null: always
 * @property {boolean} biases of the layers; the gate and the readout never have one
 * @property {boolean} depthwise the first layer is 1x1, then 3x3 within each channel; else a full 3x3
 * @property {boolean} frozen_filters the first layer's 3x3 weights are not trained
 * @property {"none" | "instance" | "batch" | "channel"} norm over what each ReLU layer's sums are normalised
 * @property {boolean} residual the proposal is added to the state; else it takes its place
 * @property {boolean} resettable a gate in each cell can reset its state to noise
 * @property {boolean} linear_readout a linear map of the state; else its last L channels
 * @property {number} stride pixels from one cell to the next: 1, 2, 4 or 8
 * @property {boolean} normal_start the state starts as N(0, 1); else as zeros
 */

/** @typedef {{shape: number[], data: Float32Array}} Tensor */
/** @typedef {Record<string, Tensor>} Params */

/** @type {Partial<Cell>} */
const DEFAULTS = {
  hidden_layers: 1,
  noise: 0,
  fire_rate: 0.5,
  alive_above: null,
  biases: true,
  depthwise: false,
  frozen_filters: false,
  norm: "none",
  residual: true,
  resettable: false,
  linear_readout: false,
  stride: 1,
  normal_start: false,
};
const SIZES = ["image_channels", "state_channels", "hidden_width", "labels"];
const NORMS = ["none", "instance", "batch", "channel"];
const STRIDES = [1, 2, 4, 8];

export const ENCODER_CHANNELS = 8; // what each layer of a strided cell's encoder makes

/**
 * Return the settings with defaults filled in. Throws InvalidInput for a value that no cell can have.
 *
 * @param {Partial<Cell>} settings
 * @returns {Cell}
 */
export function makeCell(settings) {
  const cell = /** @type {Cell} */ ({ ...DEFAULTS, ...settings });
  for (const name of Object.keys(settings)) {
    if (!(name in DEFAULTS) && !SIZES.includes(name)) throw new InvalidInput(`a cell has no setting "${name}"`);
  }
  for (const name of /** @type {(keyof Cell)[]} */ (SIZES)) {
    if (!Number.isInteger(cell[name]) || /** @type {number} */ (cell[name]) < 1) {
      throw new InvalidInput(`${name} must be an integer of at least 1, got ${cell[name]}`);
    }
  }
  if (!Number.isInteger(cell.hidden_layers) || cell.hidden_layers < 0) {
    throw new InvalidInput(`hidden_layers must be an integer of at least 0, got ${cell.hidden_layers}`);
  }
  if (!NORMS.includes(cell.norm)) {
    throw new InvalidInput(`norm must be one of ${NORMS.join(", ")}, got ${cell.norm}`);
  }
  if (!STRIDES.includes(cell.stride)) {
    throw new InvalidInput(`stride must be one of ${STRIDES.join(", ")}, got ${cell.stride}`);
  }
  if (!(cell.fire_rate >= 0 && cell.fire_rate <= 1)) {
    throw new InvalidInput(`fire_rate must be from 0 to 1, got ${cell.fire_rate}`);
  }
  if (!(cell.noise >= 0 && cell.noise < Infinity)) {
    throw new InvalidInput(`noise must be a finite number of at least 0, got ${cell.noise}`);
  }
  return cell;
}

/** E: the channels that a cell sees of the image. @param {Cell} cell */
export function environmentChannels(cell) {
  return cell.stride === 1 ? cell.image_channels : ENCODER_CHANNELS;
}

/** The layers from image to environment of a strided cell. @param {Cell} cell */
export function encoders(cell) {
  return ["encode.weight", "encode.1.weight", "encode.2.weight"].slice(0, Math.log2(cell.stride));
}

/** The layers from state to labels of a strided cell. @param {Cell} cell */
export function decoders(cell) {
  return ["decode.weight", "decode.1.weight", "decode.2.weight"].slice(0, Math.log2(cell.stride));
}

/**
 * The name and shape of every parameter.
 *
 * @param {Cell} cell
 * @returns {Record<string, number[]>}
 */
export function paramShapes(cell) {
  const { image_channels: K, state_channels: D, hidden_width: P, labels: L } = cell;
  const C = environmentChannels(cell) + D;
  /** @type {Record<string, number[]>} */
  const shapes = cell.depthwise
    ? { "perceive.mix": [C, P], "perceive.depthwise": [3, 3, P] }
    : { "perceive.weight": [3, 3, C, P] };
  shapes["perceive.bias"] = [P];
  for (let i = 0; i < cell.hidden_layers; i++) {
    shapes[`hidden.${i}.weight`] = [P, P];
    shapes[`hidden.${i}.bias`] = [P];
  }
  shapes["update.weight"] = [P, D];
  shapes["update.bias"] = [D];
  if (cell.resettable) shapes["gate.weight"] = [P, 1];
  if (cell.linear_readout) shapes["readout.weight"] = [D, L];
  encoders(cell).forEach((name, i) => (shapes[name] = [3, 3, i ? ENCODER_CHANNELS : K, ENCODER_CHANNELS]));
  decoders(cell).forEach((name, i) => (shapes[name] = [3, 3, L, i ? L : D]));
  const kept = Object.entries(shapes).filter(([name]) => cell.biases || !name.endsWith("bias"));
  return Object.fromEntries(kept);
}

/**
 * Throw InvalidInput unless params has exactly the cell's names and shapes.
 *
 * @param {Cell} cell
 * @param {Params} params
 */
export function checkParams(cell, params) {
  const shapes = paramShapes(cell);
  for (const name of Object.keys({ ...shapes, ...params })) {
    if (!(name in params)) throw new InvalidInput(`the parameter ${name} (${shapes[name].join(", ")}) is missing`);
    if (!(name in shapes)) {
      throw new InvalidInput(`${name} is not a parameter of this cell, which has ${Object.keys(shapes).join(", ")}`);
    }
    if (String(params[name].shape) !== String(shapes[name])) {
      const got = params[name].shape.join(", ");
      throw new InvalidInput(`${name} has shape (${got}); this cell needs (${shapes[name].join(", ")})`);
    }
  }
}
