/** What can be kept: the drawing as PNG, the run as GIF or WebM. */

import { UNDECIDED } from "./digits_world.js";
import { encodeGif } from "./gif.js";
import { mix } from "./board.js";

const FILM_SIDE = 336; // pixels
const LONGEST = 400; // frames
const TONES = 6;

/** Offer bytes as a download. @param {Blob} blob @param {string} name */
export function download(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The drawing as gray ink on black, a pixel a cell as in MNIST. @param {{size: number, image: Uint8Array}} world */
export function drawingCanvas({ size, image }) {
  const small = new OffscreenCanvas(size, size);
  const pixels = new ImageData(size, size);
  image.forEach((ink, i) => pixels.data.set([ink, ink, ink, 255], 4 * i));
  small.getContext("2d")?.putImageData(pixels, 0, 0);
  return small;
}

/** A film in the making: one frame a step, as indices of a palette. */
export class GifRecorder {
  /** @param {number} size @param {import("./palettes.js").Colour[]} colours @param {import("./board.js").Theme} theme */
  constructor(size, colours, theme) {
    this.scale = Math.max(1, Math.floor(FILM_SIDE / size));
    this.size = size;
    const tones = [...colours, theme.ink].flatMap((colour) =>
      Array.from({ length: TONES }, (_, i) => mix(theme.paper, colour, (i + 1) / TONES)),
    );
    this.palette = [theme.paper, ...tones];
    this.undecided = colours.length;
    /** @type {Uint8Array[]} */
    this.frames = [];
  }

  /** @param {import("./digits_world.js").DigitsWorld} world */
  add({ image, labels, size }) {
    if (this.full || size !== this.size) return;
    const cells = image.map((ink, i) => {
      if (!ink) return 0;
      const label = labels[i] === UNDECIDED ? this.undecided : labels[i];
      const tone = labels[i] === UNDECIDED ? Math.ceil((ink / 255) * TONES) : Math.ceil(TONES * (0.6 + (0.4 * ink) / 255));
      return 1 + label * TONES + tone - 1;
    });
    this.frames.push(this.enlarge(cells));
  }

  get full() {
    return this.frames.length >= LONGEST;
  }

  /** @param {Uint8Array} cells */
  enlarge(cells) {
    const { size, scale } = this;
    const side = size * scale;
    const frame = new Uint8Array(side * side);
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        frame[y * side + x] = cells[Math.floor(y / scale) * size + Math.floor(x / scale)];
      }
    }
    return frame;
  }

  finish() {
    const side = this.size * this.scale;
    const { palette, frames } = this;
    return new Blob([encodeGif({ width: side, height: side, palette, frames, delay: 6 })], { type: "image/gif" });
  }
}

/** Whether this browser records canvases. */
export function recordsVideo() {
  return typeof MediaRecorder !== "undefined" && MediaRecorder.isTypeSupported("video/webm");
}

/** Record a canvas until the returned function is called; it answers with the film. @param {HTMLCanvasElement} canvas */
export function recordVideo(canvas) {
  const stream = canvas.captureStream(30);
  const recorder = new MediaRecorder(stream, { mimeType: "video/webm" });
  /** @type {Blob[]} */
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const ended = new Promise((/** @type {(film: Blob) => void} */ resolve) => {
    recorder.onstop = () => {
      stream.getTracks().forEach((track) => track.stop());
      resolve(new Blob(parts, { type: "video/webm" }));
    };
  });
  recorder.start();
  return () => {
    if (recorder.state !== "inactive") recorder.stop();
    return ended;
  };
}
