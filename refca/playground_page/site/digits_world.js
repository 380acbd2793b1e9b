/**
 * A drawing and the cells that live on it: everything of the digits page that is not on the screen.
 *
 * Letters: N the side of the board in cells, L labels.
 */

import { Automaton, countLabels, Streams } from "./engine/index.js";

export const UNDECIDED = 255; // in place of a label: none of the cell's numbers reaches LEAST
const LEAST = 0.01; // `color_labels` of the article's notebook leaves such cells without a colour
const REMEMBERED = 600; // steps in the chart

/** @typedef {{counts: number[], undecided: number, live: number, event: boolean}} Moment */

export class DigitsWorld {
  /**
   * @param {import("./catalogue.js").Model} model
   * @param {{size?: number, seed?: string}} options
   */
  constructor(model, { size = 28, seed = "1" } = {}) {
    this.settings = { noise: model.cell.noise, fire_rate: model.cell.fire_rate };
    this.image = new Uint8Array(size * size);
    this.size = size;
    this.seed = seed;
    this.use(model);
  }

  /** Continue with another model, from the initial states. @param {import("./catalogue.js").Model} model */
  use(model) {
    this.model = model;
    this.automaton = new Automaton(model.cell, model.params, { height: this.size, width: this.size });
    this.labels = new Uint8Array(this.size ** 2);
    this.restart();
  }

  /** A blank board of another size. @param {number} size */
  resize(size) {
    this.size = size;
    this.image = new Uint8Array(size * size);
    this.use(this.model);
  }

  /** The initial states at step 0. */
  restart() {
    this.t = 0;
    this.streams = new Streams(this.seed);
    this.automaton.initialise(this.streams);
    /** @type {Moment[]} */
    this.history = [];
    this.disturbedAt = 0; // the step since which the cells look for agreement
    this.agreedAt = -1; // the step at which they found it, -1 before
    this.showImage();
  }

  /** Take the drawing over into the automaton; cells that no longer live lose their state. */
  showImage() {
    this.automaton.setImage(Float32Array.from(this.image, (byte) => byte / 255));
    this.automaton.mutate();
    this.predict();
  }

  /**
   * Put another image under the cells.
   *
   * @param {Uint8Array} image
   * @param {{restart?: boolean, marked?: boolean}} options
   *   restart: the cells forget their states, else those that stay alive keep them; marked: the chart shows when
   */
  setImage(image, { restart = false, marked = true } = {}) {
    this.image.set(image);
    if (restart) this.automaton.initialise(this.streams);
    this.showImage();
    this.disturb(marked);
  }

  /** Note that something happened from which the cells have to recover. @param {boolean} marked in the chart */
  disturb(marked) {
    this.disturbedAt = this.t;
    this.agreedAt = -1;
    const latest = this.history[this.history.length - 1];
    if (latest && marked) latest.event = true;
  }

  /** Set the states of cells to standard normal noise, as far as they live. @param {number[]} cells @param {{marked?: boolean}} options */
  wound(cells, { marked = true } = {}) {
    const { automaton } = this;
    const D = automaton.cell.state_channels;
    for (const index of cells) {
      if (!automaton.live[index]) continue;
      const start = automaton.place(index) * automaton.channels + automaton.environmentChannels;
      for (let c = 0; c < D; c++) automaton.grid[start + c] = normal();
    }
    this.predict();
    this.disturb(marked);
  }

  step() {
    const { automaton, settings } = this;
    automaton.cell = { ...automaton.cell, ...settings };
    automaton.step(this.streams, this.t++);
    this.predict();
    const moment = this.moment();
    this.history.push(moment);
    if (this.history.length > REMEMBERED) this.history.shift();
    if (this.agreedAt < 0 && agreed(moment)) this.agreedAt = this.t;
  }

  /** Read the label of each cell. */
  predict() {
    const { grid, live, channels, cell } = this.automaton;
    const L = cell.labels;
    for (let index = 0; index < live.length; index++) {
      const end = (this.automaton.place(index) + 1) * channels;
      let best = 0;
      for (let l = 1; l < L; l++) if (grid[end - L + l] > grid[end - L + best]) best = l;
      this.labels[index] = live[index] && grid[end - L + best] >= LEAST ? best : UNDECIDED;
    }
  }

  /** How many cells have which label now. @returns {Moment} */
  moment() {
    const { live, cell } = this.automaton;
    const counts = countLabels(this.labels, live, cell.labels);
    const decided = counts.reduce((a, b) => a + b, 0);
    const living = live.reduce((a, b) => a + b, 0);
    return { counts, undecided: living - decided, live: living, event: false };
  }
}

/** Whether all living cells name one label. @param {Moment} moment */
export function agreed({ counts, live }) {
  return live > 0 && counts.some((count) => count === live);
}

/** A standard normal number that need not be reproducible. */
function normal() {
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
}
