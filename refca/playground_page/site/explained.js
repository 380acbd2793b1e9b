/** The panel that opens up one cell: what it sees, its hidden values, its proposal, whether it fires, what it says. */

import { inspectCell } from "./engine/index.js";
import { mix } from "./board.js";
import { css, signed } from "./palettes.js";

/** @typedef {import("./board.js").Theme & {dim: import("./palettes.js").Colour}} Theme */

/**
 * @typedef {object} Subject the cell to explain
 * @property {import("./engine/automaton.js").Automaton} automaton
 * @property {number} index
 * @property {number | null} label what it says, null for nothing yet
 * @property {number} fireRate
 * @property {number} noise
 * @property {ArrayLike<number>} votes its number for each label
 */

/**
 * @typedef {object} Words of one automaton
 * @property {(cell: import("./engine/cell.js").Cell) => string} seen on the tiles
 * @property {string} says on the votes
 * @property {string[]} names of the labels
 */

export class Explained {
  /** @param {HTMLElement} element @param {Words} words */
  constructor(element, words) {
    this.element = element;
    this.words = words;
    element.innerHTML = `
      <ol class="flow">
        <li><h3>It sees <b data-count="seen"></b></h3>
          <canvas data-part="seen" role="img" aria-label="The 3x3 neighbourhood in each channel"></canvas>
          <p data-text="seen"></p></li>
        <li><h3>It computes <b data-count="hidden"></b></h3>
          <canvas data-part="hidden" role="img" aria-label="Hidden values, layer by layer"></canvas>
          <p data-text="hidden"></p></li>
        <li><h3>It proposes <b data-count="update"></b></h3>
          <canvas data-part="update" role="img" aria-label="The proposed change of each state channel"></canvas>
          <p data-text="update"></p></li>
        <li><h3>It tosses a coin: <b data-text="fires"></b></h3>
          <p data-text="coin"></p></li>
        <li><h3>It says <b data-text="says" class="says"></b></h3>
          <canvas data-part="votes" role="img" aria-label="The cell's number for each label"></canvas>
          <p>${words.says}</p></li>
      </ol>`;
    const part = (/** @type {string} */ name) =>
      /** @type {HTMLCanvasElement} */ (element.querySelector(`[data-part=${name}]`));
    this.parts = { seen: part("seen"), hidden: part("hidden"), update: part("update"), votes: part("votes") };
    element.hidden = true;
  }

  /** @param {string} selector @param {string} text */
  write(selector, text) {
    const element = this.element.querySelector(selector);
    if (element && element.textContent !== text) element.textContent = text;
  }

  /**
   * Show a cell; nothing if it does not live.
   *
   * @param {Subject} subject
   * @param {import("./palettes.js").Colour[]} colours
   * @param {Theme} theme
   */
  show({ automaton, index, label, fireRate, noise, votes }, colours, theme) {
    const { cell, channels, environmentChannels } = automaton;
    const { live, seen, hidden, update, updated, gate } = inspectCell(automaton, index);
    this.element.hidden = !live;
    if (!live) return;
    this.write("[data-count=seen]", `${seen.length} numbers`);
    this.write("[data-text=seen]", this.words.seen(cell));
    this.write("[data-count=hidden]", `${hidden.map((layer) => layer.length).join(" + ")} hidden values`);
    const active = hidden.reduce((sum, layer) => sum + layer.filter((value) => value > 0).length, 0);
    this.write("[data-text=hidden]", `${active} of them are active now. Every cell has the same weights.`);
    this.write("[data-count=update]", `${update.length} changes`);
    const extra = noise ? ", and a little noise" : "";
    const resets = gate === null ? "Small bars mean that it is at rest." : `Its gate would then replace ${Math.round(100 * gate)} % by noise.`;
    this.write("[data-text=update]", `${cell.residual ? "Added to" : "Takes the place of"} its state if it fires${extra}. ${resets}`);
    this.write("[data-text=fires]", updated ? "it fired" : "it waited");
    const chance = Math.round(100 * fireRate);
    this.write("[data-text=coin]", `In each step a cell updates with a chance of ${chance} %, so that no clock is shared.`);
    this.write("[data-text=says]", label === null ? "nothing yet" : this.words.names[label]);
    const says = /** @type {HTMLElement} */ (this.element.querySelector(".says"));
    says.style.setProperty("--label", css(label === null ? theme.dim : colours[label]));

    paintTiles(this.parts.seen, seen, channels, environmentChannels, theme);
    paintSquares(this.parts.hidden, hidden, theme);
    const first = cell.linear_readout ? update.length : update.length - cell.labels; // the first channel that is a vote
    paintBars(this.parts.update, update, Array.from(update, (_, c) => colours[c - first] ?? theme.dim), theme, 0.05);
    paintBars(this.parts.votes, Float32Array.from(votes), colours, theme, 1);
  }
}

/** Fit a canvas's pixels to its place. @param {HTMLCanvasElement} canvas @param {number} height in CSS pixels */
function context2d(canvas, height) {
  const ratio = globalThis.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * ratio);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, canvas.clientWidth, height);
  return context;
}

/**
 * One 3x3 tile a channel, ten in a row.
 *
 * @param {HTMLCanvasElement} canvas @param {Float32Array} seen (9, C) @param {number} channels
 * @param {number} environment channels of it, which are shown in gray @param {Theme} theme
 */
function paintTiles(canvas, seen, channels, environment, theme) {
  const perRow = 10;
  const tile = canvas.clientWidth / perRow;
  const cell = Math.floor((tile - 4) / 3);
  const context = context2d(canvas, Math.ceil(channels / perRow) * tile);
  for (let c = 0; c < channels; c++) {
    for (let tap = 0; tap < 9; tap++) {
      const value = seen[tap * channels + c];
      context.fillStyle = c < environment ? grayOf(environment === 1 ? value : (value + 1) / 2, theme) : css(signed(value, 1, theme.line));
      const x = (c % perRow) * tile + (tap % 3) * cell;
      const y = Math.floor(c / perRow) * tile + Math.floor(tap / 3) * cell;
      context.fillRect(x, y, cell - 1, cell - 1);
    }
  }
}

/** @param {number} ink @param {Theme} theme */
function grayOf(ink, theme) {
  return css(mix(theme.line, theme.ink, Math.min(1, Math.max(0, ink))));
}

/**
 * A square a hidden value, brighter for larger ones; layers one below the other.
 *
 * @param {HTMLCanvasElement} canvas @param {Float32Array[]} layers @param {Theme} theme
 */
function paintSquares(canvas, layers, theme) {
  const perRow = 40;
  const side = canvas.clientWidth / perRow;
  const rows = layers.reduce((sum, layer) => sum + Math.ceil(layer.length / perRow), 0);
  const context = context2d(canvas, (rows + (layers.length - 1) * 0.7) * side);
  let top = 0;
  for (const layer of layers) {
    const most = Math.max(...layer, 1e-6);
    layer.forEach((value, p) => {
      context.fillStyle = css(mix(theme.line, theme.accent, Math.sqrt(value / most)));
      context.fillRect((p % perRow) * side, top + Math.floor(p / perRow) * side, side - 1, side - 1);
    });
    top += (Math.ceil(layer.length / perRow) + 0.7) * side;
  }
}

/**
 * Bars up and down from a line in the middle.
 *
 * @param {HTMLCanvasElement} canvas @param {Float32Array} values @param {import("./palettes.js").Colour[]} colours
 * @param {Theme} theme @param {number} limit the least height of the scale
 */
function paintBars(canvas, values, colours, theme, limit) {
  const height = 56;
  const context = context2d(canvas, height);
  const most = Math.max(limit, ...values.map(Math.abs));
  const lowest = Math.min(0, ...values);
  const zero = lowest < -0.05 * most ? height / 2 : height - 2;
  const width = canvas.clientWidth / values.length;
  values.forEach((value, i) => {
    const bar = (value / most) * (zero - 2);
    context.fillStyle = css(colours[i]);
    context.fillRect(i * width + 1, Math.min(zero, zero - bar), width - 3, Math.max(1, Math.abs(bar)));
  });
  context.fillStyle = css(theme.dim);
  context.fillRect(0, zero, canvas.clientWidth, 1);
}
