/** Play, pause, step, reset and speed: the buttons of a clock. */

import { speedName, SPEEDS } from "./clock.js";
import { byId, onRange } from "./dom.js";

const PAUSE = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M7 5v14M17 5v14" /></svg><span>Pause</span>';
const PLAY = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M7 4l13 8-13 8z" class="full" /></svg><span>Play</span>';

export class TimeControls {
  /**
   * @param {string} prefix of the ids of the buttons
   * @param {import("./clock.js").Clock} clock
   * @param {{step: () => void, restart: () => void}} actions
   */
  constructor(prefix, clock, { step, restart }) {
    this.prefix = prefix;
    this.clock = clock;
    this.element("play").addEventListener("click", () => this.toggle());
    this.element("step").addEventListener("click", step);
    this.element("restart").addEventListener("click", restart);
    const slider = /** @type {HTMLInputElement} */ (this.element("speed"));
    slider.max = String(SPEEDS.length - 1);
    slider.value = String(SPEEDS.indexOf(clock.speed));
    onRange(`${prefix}speed`, (value) => {
      clock.speed = SPEEDS[value];
      this.element("speed-name").textContent = speedName(clock.speed);
      slider.setAttribute("aria-valuetext", speedName(clock.speed));
    });
    this.play(false);
  }

  /** @param {string} name */
  element(name) {
    return byId(this.prefix + name);
  }

  toggle() {
    this.play(!this.clock.playing);
  }

  /** @param {boolean} playing */
  play(playing) {
    if (playing) this.clock.play();
    else this.clock.pause();
    this.element("play").innerHTML = playing ? PAUSE : PLAY;
  }

  /** Show the time and the rate. @param {number} t */
  show(t) {
    const { clock } = this;
    this.element("time").textContent = String(t);
    this.element("rate").textContent = clock.playing && clock.rate ? `at ${Math.round(clock.rate)}/s` : "";
  }
}
