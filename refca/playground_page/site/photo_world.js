/** A photograph and the cells that segment it: everything of the photographs page that is not on the screen. */

import { Automaton, countLabels, predictedLabels, readout, Streams } from "./engine/index.js";

const REMEMBERED = 600; // steps in the charts

/** @typedef {{counts: number[], live: number, undecided: number, event: boolean, gate: number}} PhotoMoment */

export class PhotoWorld {
  /**
   * @param {import("./catalogue.js").Model} model
   * @param {number} size pixels of the side of the picture that the cells see
   * @param {string} seed
   */
  constructor(model, size, seed = "1") {
    this.seed = seed;
    this.use(model, size);
  }

  /** Another model or size, from the initial state; another model with its own fire rate. @param {import("./catalogue.js").Model} model @param {number} size */
  use(model, size) {
    if (model !== this.model) this.fireRate = model.cell.fire_rate;
    this.model = model;
    this.size = size;
    this.automaton = new Automaton(model.cell, model.params, { height: size, width: size });
    this.everyPixel = new Uint8Array(size * size).fill(1);
    this.restart();
  }

  restart() {
    this.t = 0;
    this.streams = new Streams(this.seed);
    this.automaton.initialise(this.streams);
    /** @type {PhotoMoment[]} */
    this.history = [];
    this.predict();
  }

  /** Show the cells another picture; their states stay. @param {Float32Array} image (size, size, 3) from -1 to 1 */
  setImage(image) {
    this.automaton.setImage(image);
  }

  /** Mark the present in the charts. */
  markEvent() {
    const latest = this.history[this.history.length - 1];
    if (latest) latest.event = true;
  }

  step() {
    this.automaton.cell = { ...this.automaton.cell, fire_rate: this.fireRate };
    this.automaton.step(this.streams, this.t++);
    this.predict();
    const counts = countLabels(this.labels, this.everyPixel, this.model.cell.labels);
    this.history.push({
      counts,
      live: this.labels.length,
      undecided: 0,
      event: false,
      gate: this.automaton.meanGate,
    });
    if (this.history.length > REMEMBERED) this.history.shift();
  }

  predict() {
    this.votes = readout(this.automaton);
    this.labels = predictedLabels(this.votes, this.model.cell.labels);
  }
}
