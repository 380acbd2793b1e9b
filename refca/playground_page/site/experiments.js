/** Ways to break the pattern, each with a sentence on what to watch, and why. */

import { forPixelsNear } from "./brush.js";

/**
 * @typedef {object} Experiment
 * @property {string} name
 * @property {string} why what to watch
 * @property {(world: import("./digits_world.js").DigitsWorld, samples: Uint8Array[][]) => void} run
 */

/** @type {Experiment[]} */
export const EXPERIMENTS = [
  {
    name: "Wound half",
    why: "Half of the cells got random states. Their neighbours keep telling them what they know, until they agree again.",
    run(world) {
      const { left, right } = bounds(world);
      const middle = (left + right) / 2;
      world.wound(living(world).filter((index) => index % world.size < middle));
    },
  },
  {
    name: "Cut in two",
    why: "Messages pass only between living neighbours. Each piece is now a colony of its own, and decides alone.",
    run(world) {
      const { top, bottom } = bounds(world);
      const y = (top + bottom) / 2;
      forPixelsNear(world.size, { x0: 0, y0: y, x1: world.size, y1: y }, 1.2, (index) => (world.image[index] = 0));
      world.setImage(world.image);
    },
  },
  {
    name: "Chimera",
    why: "The top of one digit on the bottom of another, as in the article. Often two camps fight, and neither wins.",
    run(world, samples) {
      const [above, below] = pick([[8, 9], [6, 9], [3, 5], [7, 2], [9, 4]]);
      const top = paste(world, pick(samples[above]));
      const bottom = paste(world, pick(samples[below]));
      const half = (world.size * world.size) / 2;
      world.setImage(top.map((ink, index) => (index < half ? ink : bottom[index])));
    },
  },
  {
    name: "Turn it",
    why: "Cells know where up is, and were trained on upright digits. How far can it lean before they change their minds?",
    run: (world) => world.setImage(transformed(world, { angle: Math.PI / 9 })),
  },
  {
    name: "Grow it",
    why: "Cells do not know where they are, nor how large the digit is. It works for larger ones, up to a point.",
    run: (world) => world.setImage(transformed(world, { scale: 1.18 })),
  },
  {
    name: "Shrink it",
    why: "A small digit has few cells, so each detail rests on one or two of them.",
    run: (world) => world.setImage(transformed(world, { scale: 0.85 })),
  },
];

/** How many pieces the living cells form, neighbours at corners included. @param {import("./digits_world.js").DigitsWorld} world */
export function countPieces(world) {
  const { size } = world;
  const left = new Set(living(world));
  let pieces = 0;
  for (const start of left) {
    pieces++;
    const open = [start];
    left.delete(start);
    for (let index = open.pop(); index !== undefined; index = open.pop()) {
      const [x, y] = [index % size, Math.floor(index / size)];
      for (let dy = -1; dy <= 1; dy++) {
        for (let dx = -1; dx <= 1; dx++) {
          const next = index + dy * size + dx;
          const inside = x + dx >= 0 && x + dx < size && y + dy >= 0 && y + dy < size;
          if (inside && left.delete(next)) open.push(next);
        }
      }
    }
  }
  return pieces;
}

/** @param {import("./digits_world.js").DigitsWorld} world @returns {number[]} */
function living({ automaton }) {
  return Array.from(automaton.live.keys()).filter((index) => automaton.live[index]);
}

/** The smallest box around the living cells. @param {import("./digits_world.js").DigitsWorld} world */
function bounds(world) {
  const cells = living(world);
  const columns = cells.map((index) => index % world.size);
  const rows = cells.map((index) => Math.floor(index / world.size));
  if (!cells.length) return { left: 0, right: world.size, top: 0, bottom: world.size };
  return {
    left: Math.min(...columns),
    right: Math.max(...columns) + 1,
    top: Math.min(...rows),
    bottom: Math.max(...rows) + 1,
  };
}

/**
 * A sample in the middle of a board.
 *
 * @param {{size: number}} world
 * @param {Uint8Array} sample
 * @param {number} [left] where its left edge goes
 * @param {number} [top]
 */
export function paste({ size }, sample, left, top) {
  const side = Math.sqrt(sample.length);
  const board = new Uint8Array(size * size);
  const [x0, y0] = [left ?? Math.floor((size - side) / 2), top ?? Math.floor((size - side) / 2)];
  sample.forEach((ink, i) => {
    const [x, y] = [x0 + (i % side), y0 + Math.floor(i / side)];
    if (x >= 0 && x < size && y >= 0 && y < size) board[y * size + x] = ink;
  });
  return board;
}

/**
 * The drawing turned and scaled about its middle, bilinear.
 *
 * @param {import("./digits_world.js").DigitsWorld} world
 * @param {{angle?: number, scale?: number}} change
 */
function transformed(world, { angle = 0, scale = 1 }) {
  const { size, image } = world;
  const { left, right, top, bottom } = bounds(world);
  const [cx, cy] = [(left + right) / 2, (top + bottom) / 2];
  const [c, s] = [Math.cos(angle) / scale, Math.sin(angle) / scale];
  const at = (/** @type {number} */ x, /** @type {number} */ y) =>
    x < 0 || x >= size || y < 0 || y >= size ? 0 : image[y * size + x];
  return image.map((_, i) => {
    const [dx, dy] = [(i % size) + 0.5 - cx, Math.floor(i / size) + 0.5 - cy];
    const [x, y] = [cx + c * dx + s * dy - 0.5, cy - s * dx + c * dy - 0.5];
    const [x0, y0] = [Math.floor(x), Math.floor(y)];
    const [fx, fy] = [x - x0, y - y0];
    const upper = at(x0, y0) * (1 - fx) + at(x0 + 1, y0) * fx;
    const lower = at(x0, y0 + 1) * (1 - fx) + at(x0 + 1, y0 + 1) * fx;
    return Math.round(upper * (1 - fy) + lower * fy);
  });
}

/** @template T @param {T[]} choices @returns {T} */
function pick(choices) {
  return choices[Math.floor(Math.random() * choices.length)];
}
