/** Links that reproduce a run: model, seed, size, drawing and settings, all after the #, which no server sees. */

import { pack, unpack } from "./packed.js";

const SIZES = [28, 56, 96];

/**
 * @typedef {object} Link
 * @property {string | null} model
 * @property {number} size
 * @property {string} [seed]
 * @property {boolean} drawn whether it says that it has a drawing
 * @property {Uint8Array | null} image the drawing, null without one that can be read
 * @property {{fire_rate?: number, noise?: number}} settings
 */

/** @param {import("./digits_world.js").DigitsWorld} world */
export function writeLink({ model, size, seed, image, settings }) {
  return new URLSearchParams({
    model: model.name,
    size: String(size),
    seed,
    fire: String(settings.fire_rate),
    noise: String(settings.noise),
    drawing: pack(image),
  }).toString();
}

/** What a link says; what it does not say, or says wrongly, is left at its default. @param {string} hash @returns {Link} */
export function readLink(hash) {
  const said = new URLSearchParams(hash.replace(/^#/, ""));
  const size = SIZES.includes(Number(said.get("size"))) ? Number(said.get("size")) : SIZES[0];
  const seed = said.get("seed") ?? "";
  /** @type {{fire_rate?: number, noise?: number}} */
  const settings = {};
  const fire = number(said.get("fire"), 1);
  const noise = number(said.get("noise"), 0.2);
  if (fire !== null) settings.fire_rate = fire;
  if (noise !== null) settings.noise = noise;
  return {
    model: said.get("model"),
    size,
    seed: isSeed(seed) ? seed : undefined,
    drawn: said.has("drawing"),
    image: said.has("drawing") ? unpack(said.get("drawing") ?? "", size * size) : null,
    settings,
  };
}

/** Whether a text is a seed: a whole number below 2^64. @param {string} text */
export function isSeed(text) {
  return /^\d{1,20}$/.test(text) && BigInt(text) < 2n ** 64n;
}

/** @param {string | null} text @param {number} most */
function number(text, most) {
  const value = text ? Number(text) : NaN;
  return value >= 0 && value <= most ? value : null;
}
