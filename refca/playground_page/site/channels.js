/** The state channels as small pictures. */

import { signed } from "./palettes.js";

const SHADES = 128; // on each side of zero

export class Channels {
  /** @param {HTMLElement} element @param {import("./digits_world.js").DigitsWorld} world */
  constructor(element, world) {
    const { size, automaton } = world;
    const { state_channels: D, labels: L } = automaton.cell;
    this.canvases = Array.from({ length: D }, (_, channel) => {
      const canvas = Object.assign(document.createElement("canvas"), { width: size, height: size });
      const vote = channel - (D - L);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", vote >= 0 ? `votes for ${vote}` : `state channel ${channel + 1}`);
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      caption.textContent = vote >= 0 ? `says ${vote}` : `${channel + 1}`;
      figure.append(canvas, caption);
      return { canvas, figure };
    });
    this.picture = new ImageData(size, size);
    element.replaceChildren(...this.canvases.map(({ figure }) => figure));
  }

  /**
   * @param {import("./digits_world.js").DigitsWorld} world
   * @param {import("./palettes.js").Colour} paper of cells that do not live
   * @param {import("./palettes.js").Colour} neutral of zero
   */
  paint({ automaton }, paper, neutral) {
    const { live, grid, channels, environmentChannels } = automaton;
    const pixels = this.picture.data;
    const shades = Array.from({ length: 2 * SHADES + 1 }, (_, i) => signed(i / SHADES - 1, 1, neutral));
    this.canvases.forEach(({ canvas }, channel) => {
      for (let index = 0; index < live.length; index++) {
        let colour = paper;
        if (live[index]) {
          const value = grid[automaton.place(index) * channels + environmentChannels + channel];
          colour = shades[Math.round((Math.max(-1, Math.min(1, value)) + 1) * SHADES)];
        }
        pixels[4 * index] = colour[0];
        pixels[4 * index + 1] = colour[1];
        pixels[4 * index + 2] = colour[2];
        pixels[4 * index + 3] = 255;
      }
      canvas.getContext("2d")?.putImageData(this.picture, 0, 0);
    });
  }
}
