/**
 * A batch of automata on one grid, and the step: neighbourhood, hidden layers, propose, gate, fire.
 *
 * The definition is `refca/definition/step.py`; this is the same step, computed only where it has to be. A cell that
 * does not fire, or does not live, keeps its state, so nothing is computed for it, unless a norm over all cells
 * (instance, batch) needs its sums.
 *
 * Letters: B samples, H x W grid, E environment channels, D state channels, C = E + D, P hidden width, L labels.
 */

import { checkParams, environmentChannels } from "./cell.js";
import { InvalidInput } from "./errors.js";
import { COLUMNS, packWeights, packedLength, ROWS, roundUp, Workspace } from "./kernel.js";
import { makeStatistics, normalise } from "./norms.js";
import { decode, encode } from "./strided.js";

const CHUNK = 64; // cells that go through all layers together, so that their hidden values stay in the cache

/** @typedef {import("./randomness.js").Streams | import("./randomness.js").Recorded} Randomness */

export class Automaton {
  /**
   * Automata with blank images and zero states. All memory is taken here; `step` allocates nothing.
   *
   * @param {import("./cell.js").Cell} cell
   * @param {import("./cell.js").Params} params float32
   * @param {{batch?: number, height: number, width: number, kernel?: "simd" | "plain"}} options the image's size
   *   in pixels, and for tests which kernel to use
   */
  constructor(cell, params, { batch = 1, height, width, kernel }) {
    checkParams(cell, params);
    if (height % cell.stride || width % cell.stride) {
      throw new InvalidInput(`an image of ${height}x${width} does not divide into cells of stride ${cell.stride}`);
    }
    this.cell = cell;
    this.params = params;
    this.batch = batch;
    this.height = height / cell.stride;
    this.width = width / cell.stride;
    this.sites = this.height * this.width; // of one sample
    this.environmentChannels = environmentChannels(cell);
    this.channels = this.environmentChannels + cell.state_channels;
    this.hiddenColumns = roundUp(cell.hidden_width, COLUMNS);
    this.updateColumns = roundUp(cell.state_channels + 1, COLUMNS); // the last one is the gate's
    /** How many cells one norm is over: a sample's, the batch's, or 0 where cells need no others. */
    this.together = { instance: this.sites, batch: batch * this.sites, none: 0, channel: 0 }[cell.norm];
    this.rows = this.together || CHUNK; // cells that go through the layers together
    this.live = new Uint8Array(batch * this.sites);
    this.everyCell = Int32Array.from(this.live, (_, index) => index);
    this.values = new Float32Array(cell.state_channels);
    this.gates = new Float32Array(cell.resettable ? this.live.length : 0); // of cells that updated in the last step
    this.updateCount = 0; // how many cells updated in the last step: the first of `updates`
    this.takeMemory(kernel);
    this.setImage(new Float32Array(batch * height * width * cell.image_channels));
  }

  /** @param {"simd" | "plain" | undefined} kernel */
  takeMemory(kernel) {
    const { cell, params, channels, hiddenColumns, updateColumns } = this;
    const padded = this.batch * (this.height + 2) * (this.width + 2);
    const cells = this.live.length + ROWS;
    const rows = roundUp(this.rows, ROWS);
    const depths = [9 * channels, ...new Array(cell.hidden_layers).fill(cell.hidden_width)];
    const sizes = {
      grid: padded * channels,
      mixed: cell.depthwise ? padded * hiddenColumns : 0,
      lists: 2 * (cells + rows),
      hidden: 2 * rows * hiddenColumns,
      proposals: cells * updateColumns,
      layers: depths.reduce((sum, depth) => sum + packedLength(depth + 1, hiddenColumns), 0),
      update: packedLength(cell.hidden_width + 1, updateColumns),
    };
    const pieces = 32; // each starts at a multiple of 16 bytes
    const numbers = Object.values(sizes).reduce((sum, size) => sum + size) + 4 * pieces;
    const workspace = new Workspace(4 * numbers, kernel);
    this.kernel = workspace.kind;
    this.multiply = workspace.multiply;
    /** Environment and state of every cell, in a border of zeros: (B, H+2, W+2, C). */
    this.grid = workspace.floats(sizes.grid);
    this.mixed = workspace.floats(sizes.mixed);
    this.table = workspace.integers(cells + rows); // addresses of the rows that are multiplied
    this.updates = workspace.integers(cells); // the cells that update in this step, b*H*W + y*W + x
    this.hidden = [workspace.floats(sizes.hidden / 2), workspace.floats(sizes.hidden / 2)];
    this.proposals = workspace.floats(sizes.proposals);

    /** @param {string} name @param {number} depth @param {number} columns */
    const layer = (name, depth, columns) => {
      const weight = workspace.floats(packedLength(depth, columns));
      const bias = workspace.floats(columns);
      const matrix = params[`${name}.weight`] ?? params[`${name}.mix`];
      packWeights(weight, matrix.data, depth, matrix.shape[matrix.shape.length - 1]);
      const biases = params[`${name}.bias`];
      if (biases) bias.set(biases.data);
      return { weight, bias, statistics: makeStatistics(cell, this.rows) };
    };
    if (cell.depthwise) depths[0] = channels;
    this.layers = depths.map((depth, i) => layer(i ? `hidden.${i - 1}` : "perceive", depth, hiddenColumns));
    this.update = layer("update", cell.hidden_width, updateColumns);
    if (cell.resettable) {
      const gate = params["gate.weight"].data;
      packWeights(this.update.weight, gate, cell.hidden_width, 1, cell.state_channels);
    }
    if (cell.depthwise) this.separateFilters();
  }

  /** The mix of a depthwise first layer has no bias; its filters have, in a tenth row. */
  separateFilters() {
    const { hiddenColumns, layers, params, cell } = this;
    this.filters = new Float32Array(10 * hiddenColumns);
    const filters = params["perceive.depthwise"].data;
    for (let tap = 0; tap < 9; tap++) {
      const row = filters.subarray(tap * cell.hidden_width, (tap + 1) * cell.hidden_width);
      this.filters.set(row, tap * hiddenColumns);
    }
    this.filters.set(layers[0].bias, 9 * hiddenColumns);
    layers[0].bias.fill(0);
    this.mixing = layers[0];
  }

  /**
   * Show the cells other images (B, sH, sW, K). States stay as they are; `mutate` erases those of cells that died.
   *
   * @param {Float32Array} image
   */
  setImage(image) {
    const { cell, batch, height, width, environmentChannels, channels } = this;
    const expected = batch * height * width * cell.stride ** 2 * cell.image_channels;
    if (image.length !== expected) throw new InvalidInput(`image must have ${expected} numbers, got ${image.length}`);
    this.image = image;
    const environment = encode(cell, this.params, image, batch, height * cell.stride, width * cell.stride);
    const threshold = cell.alive_above === null ? null : Math.fround(cell.alive_above);
    for (let index = 0; index < batch * this.sites; index++) {
      const from = index * environmentChannels;
      const to = this.place(index) * channels;
      for (let e = 0; e < environmentChannels; e++) this.grid[to + e] = environment[from + e];
      this.live[index] = threshold === null || environment[from] > threshold ? 1 : 0;
    }
  }

  /** Erase the states of cells that do not live: what a mutation does after the image has changed. */
  mutate() {
    const { cell, channels, environmentChannels } = this;
    for (let index = 0; index < this.live.length; index++) {
      if (this.live[index]) continue;
      const start = this.place(index) * channels + environmentChannels;
      this.grid.fill(0, start, start + cell.state_channels);
    }
  }

  /** Where cell b*H*W + y*W + x is in the grid with a border. @param {number} index */
  place(index) {
    const { sites, width, height } = this;
    const b = Math.floor(index / sites);
    const site = index - b * sites;
    const y = Math.floor(site / width);
    return (b * (height + 2) + y + 1) * (width + 2) + (site - y * width) + 1;
  }

  /** A copy of the states, (B, H, W, D). @returns {Float32Array} */
  getState() {
    const { cell, channels, environmentChannels } = this;
    const D = cell.state_channels;
    const state = new Float32Array(this.live.length * D);
    for (let index = 0; index < this.live.length; index++) {
      const start = this.place(index) * channels + environmentChannels;
      for (let c = 0; c < D; c++) state[index * D + c] = this.grid[start + c];
    }
    return state;
  }

  /** @param {ArrayLike<number>} state (B, H, W, D) */
  setState(state) {
    const { cell, channels, environmentChannels } = this;
    const D = cell.state_channels;
    if (state.length !== this.live.length * D) {
      throw new InvalidInput(`state must have ${this.live.length * D} numbers, got ${state.length}`);
    }
    for (let index = 0; index < this.live.length; index++) {
      const start = this.place(index) * channels + environmentChannels;
      for (let c = 0; c < D; c++) this.grid[start + c] = state[index * D + c];
    }
  }

  /**
   * Set the initial state, before any step: zeros, or for a cell with a normal start the streams' numbers.
   *
   * @param {import("./randomness.js").Streams} streams
   */
  initialise(streams) {
    const { cell, values, sites, channels, environmentChannels } = this;
    this.updateCount = 0;
    this.gates.fill(0);
    values.fill(0);
    for (let index = 0; index < this.live.length; index++) {
      if (cell.normal_start) streams.initial(Math.floor(index / sites), index % sites, values);
      this.grid.set(values, this.place(index) * channels + environmentChannels);
    }
  }

  /**
   * Make one step, number t.
   *
   * @param {Randomness} randomness
   * @param {number} t
   */
  step(randomness, t) {
    const shape = [this.batch, this.height, this.width];
    randomness.prepare(this.cell, { firstStep: t, steps: 1, shape });
    this.chooseUpdates(randomness, t);
    if (this.cell.depthwise) this.mix();
    if (this.together) this.proposeAfterNorm();
    else this.proposeInChunks();
    this.fire(randomness, t);
  }

  /** List the cells that fire and live, in order. @param {Randomness} randomness @param {number} t */
  chooseUpdates(randomness, t) {
    const { live, sites, batch, updates } = this;
    let count = 0;
    for (let b = 0; b < batch; b++) {
      for (let site = 0; site < sites; site++) {
        const index = b * sites + site;
        if (live[index] && randomness.fires(t, b, site)) updates[count++] = index;
      }
    }
    this.updateCount = count;
  }

  /** Without a norm over cells: hidden values of the updating cells alone, a chunk at a time. */
  proposeInChunks() {
    for (let start = 0; start < this.updateCount; start += this.rows) {
      const rows = Math.min(this.rows, this.updateCount - start);
      const hidden = this.hiddenLayers(this.updates, start, rows);
      this.propose(start, rows, hidden, null, 0);
    }
  }

  /** With a norm over cells: hidden values of all cells of the norm, proposals of the updating ones. */
  proposeAfterNorm() {
    let start = 0;
    for (let first = 0; first < this.live.length; first += this.together) {
      const hidden = this.hiddenLayers(this.everyCell, first, this.together);
      let end = start;
      while (end < this.updateCount && this.updates[end] < first + this.together) end++;
      this.propose(start, end - start, hidden, this.updates, first);
      start = end;
    }
  }

  /**
   * The hidden values of `rows` cells of a list, one row of `hiddenColumns` a cell.
   *
   * @param {Int32Array} cells @param {number} start @param {number} rows
   */
  hiddenLayers(cells, start, rows) {
    const { cell, layers, hidden, hiddenColumns, table } = this;
    const rectify = cell.norm === "none";
    this.perceive(cells, start, rows, hidden[0], rectify);
    if (!rectify) normalise(cell, layers[0].statistics, hidden[0], rows, hiddenColumns);
    for (let i = 1; i < layers.length; i++) {
      const input = hidden[(i - 1) % 2];
      const output = hidden[i % 2];
      for (let r = 0; r < rows; r++) table[r] = input.byteOffset + 4 * hiddenColumns * r;
      this.multiplyRows(rows, 1, 0, cell.hidden_width, layers[i], output.byteOffset, hiddenColumns, rectify);
      if (!rectify) normalise(cell, layers[i].statistics, output, rows, hiddenColumns);
    }
    return hidden[(layers.length - 1) % 2];
  }

  /**
   * The first layer's sums: over the 3x3 neighbourhood, or in each channel of what `mix` made of it.
   *
   * @param {Int32Array} cells @param {number} start @param {number} rows @param {Float32Array} output
   * @param {boolean} rectify
   */
  perceive(cells, start, rows, output, rectify) {
    const { cell, grid, channels, hiddenColumns, table, width, layers } = this;
    const line = width + 2;
    if (!cell.depthwise) {
      for (let r = 0; r < rows; r++) {
        table[r] = grid.byteOffset + 4 * channels * (this.place(cells[start + r]) - line - 1);
      }
      const lineBytes = 4 * channels * line;
      this.multiplyRows(rows, 3, lineBytes, 3 * channels, layers[0], output.byteOffset, hiddenColumns, rectify);
      return;
    }
    for (let r = 0; r < rows; r++) {
      const corner = (this.place(cells[start + r]) - line - 1) * hiddenColumns;
      const target = r * hiddenColumns;
      depthwise(output, target, this.mixed, corner, line * hiddenColumns, hiddenColumns, this.filters);
      if (rectify) for (let p = target; p < target + hiddenColumns; p++) output[p] = Math.max(output[p], 0);
    }
  }

  /** The 1x1 part of a depthwise first layer in every cell, (B, H+2, W+2, P) with zeros in the border. */
  mix() {
    const { grid, channels, hiddenColumns, table, mixed, mixing, hidden, rows: most } = this;
    for (let start = 0; start < this.live.length; start += most) {
      const rows = Math.min(most, this.live.length - start);
      for (let r = 0; r < rows; r++) table[r] = grid.byteOffset + 4 * channels * this.place(start + r);
      this.multiplyRows(rows, 1, 0, channels, mixing, hidden[1].byteOffset, hiddenColumns, false);
      for (let r = 0; r < rows; r++) {
        const to = this.place(start + r) * hiddenColumns;
        const from = r * hiddenColumns;
        for (let p = 0; p < hiddenColumns; p++) mixed[to + p] = hidden[1][from + p];
      }
    }
  }

  /**
   * The proposals of `rows` updating cells, and their gates before the sigmoid.
   *
   * @param {number} start the first of them in the list of updates @param {number} rows
   * @param {Float32Array} hidden @param {Int32Array | null} cells if given, `hidden` has rows for cells from
   *   `first` on, and these are the updating ones; if null, it has one row for each updating cell
   * @param {number} first
   */
  propose(start, rows, hidden, cells, first) {
    const { cell, table, hiddenColumns, proposals, updateColumns, update } = this;
    for (let r = 0; r < rows; r++) {
      const row = cells ? cells[start + r] - first : r;
      table[r] = hidden.byteOffset + 4 * hiddenColumns * row;
    }
    const output = proposals.byteOffset + 4 * updateColumns * start;
    this.multiplyRows(rows, 1, 0, cell.hidden_width, update, output, updateColumns, false);
  }

  /** Move the states of the updating cells: noise, residual, reset. @param {Randomness} randomness @param {number} t */
  fire(randomness, t) {
    const { cell, grid, channels, environmentChannels, proposals, updateColumns, sites, values } = this;
    const D = cell.state_channels;
    this.gates.fill(0);
    for (let i = 0; i < this.updateCount; i++) {
      const index = this.updates[i];
      const b = Math.floor(index / sites);
      const state = this.place(index) * channels + environmentChannels;
      const proposal = i * updateColumns;
      if (cell.noise) {
        randomness.noise(t, b, index - b * sites, values);
        for (let c = 0; c < D; c++) proposals[proposal + c] += cell.noise * values[c];
      }
      if (cell.residual) for (let c = 0; c < D; c++) proposals[proposal + c] += grid[state + c];
      if (cell.resettable) {
        randomness.resetNoise(t, b, index - b * sites, values);
        const open = sigmoid(proposals[proposal + D]);
        this.gates[index] = open;
        for (let c = 0; c < D; c++) {
          proposals[proposal + c] = open * values[c] + (1 - open) * proposals[proposal + c];
        }
      }
      for (let c = 0; c < D; c++) grid[state + c] = proposals[proposal + c];
    }
  }

  /** The mean gate of the cells that updated in the last step, 0 without a gate. */
  get meanGate() {
    return this.updateCount ? this.gates.reduce((a, b) => a + b, 0) / this.updateCount : 0;
  }

  /**
   * Multiply the rows whose addresses are in `table` by a layer's weights.
   *
   * @param {number} rows @param {number} segments @param {number} segmentBytes @param {number} depth
   * @param {{weight: Float32Array, bias: Float32Array}} layer @param {number} output its address
   * @param {number} columns @param {boolean} rectify
   */
  multiplyRows(rows, segments, segmentBytes, depth, layer, output, columns, rectify) {
    const { table } = this;
    const padded = roundUp(rows, ROWS);
    for (let r = rows; r < padded; r++) table[r] = table[rows - 1];
    this.multiply(
      padded,
      table.byteOffset,
      segments,
      segmentBytes,
      depth,
      layer.weight.byteOffset,
      columns / COLUMNS,
      layer.bias.byteOffset,
      output,
      4 * columns,
      rectify ? 1 : 0,
    );
  }
}

/** 1 / (1 + exp(-x)), without overflow. @param {number} x */
export function sigmoid(x) {
  return (Math.tanh(x / 2) + 1) / 2;
}

/**
 * The sums of one cell's 3x3 neighbourhood within each channel.
 *
 * @param {Float32Array} output @param {number} target @param {Float32Array} mixed
 * @param {number} corner where the neighbourhood starts @param {number} line numbers in a line of the grid
 * @param {number} columns @param {Float32Array} filters nine rows of weights and one of biases
 */
function depthwise(output, target, mixed, corner, line, columns, filters) {
  const middle = corner + line;
  const bottom = middle + line;
  const n = columns;
  for (let p = 0; p < n; p++) {
    output[target + p] =
      filters[9 * n + p] +
      mixed[corner + p] * filters[p] +
      mixed[corner + n + p] * filters[n + p] +
      mixed[corner + 2 * n + p] * filters[2 * n + p] +
      mixed[middle + p] * filters[3 * n + p] +
      mixed[middle + n + p] * filters[4 * n + p] +
      mixed[middle + 2 * n + p] * filters[5 * n + p] +
      mixed[bottom + p] * filters[6 * n + p] +
      mixed[bottom + n + p] * filters[7 * n + p] +
      mixed[bottom + 2 * n + p] * filters[8 * n + p];
  }
}
