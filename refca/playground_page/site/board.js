/** The board: cells painted on a canvas, and the cell under a pointer. */

import { UNDECIDED } from "./digits_world.js";
import { css } from "./palettes.js";

const LEVELS = 8; // tones of each colour: thin ink is paler
const ROUND_FROM = 8; // pixels of a cell from which cells have gaps and round corners

/** @typedef {import("./palettes.js").Colour} Colour */

/** @typedef {{paper: Colour, ink: Colour, line: Colour, accent: Colour}} Theme */

export class Board {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.scale = 1; // canvas pixels of a cell
    /** @type {string[][]} */
    this.tones = [];
  }

  /** Fit the canvas's pixels to its place on the screen. @param {number} size cells in a row */
  fit(size) {
    const side = this.canvas.clientWidth * (globalThis.devicePixelRatio || 1);
    this.scale = Math.max(1, Math.floor(side / size));
    if (this.canvas.width !== this.scale * size) this.canvas.width = this.canvas.height = this.scale * size;
  }

  /**
   * @param {Colour[]} colours of the labels
   * @param {Theme} theme
   */
  setColours(colours, theme) {
    this.theme = theme;
    const tones = (/** @type {Colour} */ colour, /** @type {number} */ least) =>
      Array.from({ length: LEVELS + 1 }, (_, i) => css(mix(theme.paper, colour, least + ((1 - least) * i) / LEVELS)));
    this.tones = [...colours.map((colour) => tones(colour, 0.62)), tones(theme.ink, 0)];
  }

  /**
   * Paint the cells.
   *
   * @param {import("./digits_world.js").DigitsWorld} world
   * @param {{fires?: boolean, cursor?: number | null, inspected?: number | null}} marks cells to mark
   */
  paint(world, { fires = false, cursor = null, inspected = null } = {}) {
    const { context, scale, canvas, tones, theme } = this;
    if (!theme) return;
    const { size, image, labels } = world;
    context.fillStyle = css(theme.paper);
    context.fillRect(0, 0, canvas.width, canvas.height);
    this.paintLattice(size);
    const round = scale >= ROUND_FROM * Math.min(2, globalThis.devicePixelRatio || 1);
    const gap = round ? Math.max(1, Math.round(scale / 14)) : 0;
    for (let index = 0; index < image.length; index++) {
      if (!image[index]) continue;
      const tone = tones[labels[index] === UNDECIDED ? tones.length - 1 : labels[index]];
      context.fillStyle = tone[Math.ceil((image[index] / 255) * LEVELS)];
      const x = (index % size) * scale;
      const y = Math.floor(index / size) * scale;
      if (!round) {
        context.fillRect(x, y, scale, scale);
        continue;
      }
      context.beginPath();
      context.roundRect(x + gap / 2, y + gap / 2, scale - gap, scale - gap, scale * 0.22);
      context.fill();
    }
    if (fires) this.markFiring(world);
    if (inspected !== null) this.outline(inspected, size, 3);
    if (cursor !== null) this.outline(cursor, size, 1);
  }

  /** Faint lines between cells. @param {number} size */
  paintLattice(size) {
    const { context, scale, canvas, theme } = this;
    if (scale < 6 || !theme) return;
    context.fillStyle = css(theme.line);
    for (let i = 1; i < size; i++) {
      context.fillRect(i * scale, 0, 1, canvas.height);
      context.fillRect(0, i * scale, canvas.width, 1);
    }
  }

  /** A dot on each cell that updated in the last step. @param {import("./digits_world.js").DigitsWorld} world */
  markFiring({ automaton, size }) {
    const { context, scale, theme } = this;
    context.fillStyle = theme ? css(theme.paper) : "white";
    const radius = Math.max(1, scale * 0.16);
    for (let i = 0; i < automaton.updateCount; i++) {
      const index = automaton.updates[i];
      context.beginPath();
      context.arc(((index % size) + 0.5) * scale, (Math.floor(index / size) + 0.5) * scale, radius, 0, 7);
      context.fill();
    }
  }

  /** A frame around a square of cells with this one in its middle. @param {number} index @param {number} size @param {number} cells */
  outline(index, size, cells) {
    const { context, scale, theme } = this;
    const margin = ((cells - 1) / 2) * scale;
    const x = (index % size) * scale - margin;
    const y = Math.floor(index / size) * scale - margin;
    const lineWidth = Math.max(2, scale / 9);
    context.lineJoin = "round";
    for (const [colour, width] of /** @type {const} */ ([
      [theme ? css(theme.paper) : "white", lineWidth * 2],
      [theme ? css(theme.accent) : "blue", lineWidth],
    ])) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(x, y, cells * scale, cells * scale);
    }
  }

  /**
   * A pointer's place on the board, in cells; may be outside.
   *
   * @param {{clientX: number, clientY: number}} event
   * @param {number} size
   */
  placeOf(event, size) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * size,
      y: ((event.clientY - box.top) / box.height) * size,
    };
  }
}

/** @param {Colour} from @param {Colour} to @param {number} share @returns {Colour} */
export function mix(from, to, share) {
  const between = (/** @type {number} */ i) => Math.round(from[i] + (to[i] - from[i]) * share);
  return [between(0), between(1), between(2)];
}
