/** The photographs page: a picture under the cells, their labels over it, and the charts. */

import { loadModel, models, preferred, readJson, fileAddress } from "./catalogue.js";
import { blank, paintChart } from "./chart.js";
import { Clock } from "./clock.js";
import {
  attempt, byId, fillSelect, inPercent, onRange, prefersLittleMotion, pressed, radioGroup, requests, showRange, spacePresses, typing,
  wholePercent,
} from "./dom.js";
import { Explained } from "./explained.js";
import { css, SEGMENTATION } from "./palettes.js";
import { PhotoWorld } from "./photo_world.js";
import { acceptPictures, startCamera } from "./pictures.js";
import { StateColours } from "./state_colours.js";
import { readTheme } from "./theme.js";
import { TimeControls } from "./time_controls.js";

const NAMES = ["background", "animal", "outline"];
const SHOWN_SIDE = 576; // pixels of the picture on the page
const VEIL = 0.55; // how much of a label's colour lies over the picture
const WORDS = {
  seen: (/** @type {import("./engine/cell.js").Cell} */ { stride }) =>
    `Its own ${stride > 1 ? "pixels" : "colour"} and state and those of its eight neighbours: each tile is one channel, the
    first ${stride > 1 ? "eight are what its encoder makes of the pixels" : "three are red, green and blue"}. Beyond the
    edge it sees zeros.`,
  says: "A linear map of its state, the same for all. No cell ever sees the whole animal.",
  names: NAMES,
};
const VIEWS = {
  labels: "The colour of each cell's label over the photograph.",
  state: "The cells' hidden states: similar states have similar colours. This is what they tell each other.",
  gate: "How far each cell that fired just reset itself: bright cells are letting go.",
  seen: "The picture as the cells get it, a pixel a cell.",
};

export class PhotographsPage {
  /** Read models and samples. */
  static async open() {
    const [entries, samples] = await Promise.all([models("segmentation"), readJson("samples/photographs.json")]);
    const entry = preferred(entries);
    if (!entry) return null;
    const addresses = await Promise.all(
      samples.files.map((/** @type {string} */ file) => fileAddress(`samples/${file}`, "image/jpeg")),
    );
    return new PhotographsPage(await loadModel(entry), entries, addresses, samples.credit);
  }

  /**
   * @param {import("./catalogue.js").Model} model
   * @param {import("./catalogue.js").Entry[]} entries
   * @param {string[]} samples addresses of pictures
   * @param {string} credit
   */
  constructor(model, entries, samples, credit) {
    this.element = byId("photographs");
    this.canvas = /** @type {HTMLCanvasElement} */ (byId("photo-board"));
    this.canvas.width = this.canvas.height = SHOWN_SIDE;
    this.context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    /** The picture, a whole number of pixels a cell and at least SHOWN_SIDE a side; the cells get its means. */
    this.picture = document.createElement("canvas");
    this.pictureContext = /** @type {CanvasRenderingContext2D} */ (
      this.picture.getContext("2d", { willReadFrequently: true })
    );
    /** A pixel a cell, drawn over the picture. */
    this.small = document.createElement("canvas");
    this.world = new PhotoWorld(model, 48 * model.cell.stride);
    this.fitPicture();
    this.asksForPicture = requests();
    this.asksForCamera = requests();
    this.resumes = !prefersLittleMotion(); // whether to play when the page is shown again
    this.stateColours = new StateColours(model.cell.state_channels);
    this.entries = entries;
    this.explained = new Explained(byId("photo-explained"), WORDS);
    /** @type {number | null} a pixel */
    this.inspected = null;
    this.view = "labels";
    this.frames = 0;
    this.clock = new Clock({ step: () => this.world.step(), draw: () => this.frame() });
    this.time = new TimeControls("photo-", this.clock, {
      step: () => this.singleStep(),
      restart: () => this.restart(),
    });
    byId("photo-credits").textContent = credit;
    this.setUpPictures(samples);
    this.setUpBoard();
    this.setUpViews();
    this.setUpSettings();
    document.addEventListener("keydown", (event) => this.onKey(event));
    addEventListener("resize", () => this.clock.playing || this.draw());
  }

  /** Stop time and the camera while another page is shown. */
  leave() {
    this.stopCamera();
    this.resumes = this.clock.playing;
    this.time.play(false);
  }

  /** Show the page again, as it was left; the first time with the first sample. */
  comeBack() {
    if (!this.image) /** @type {HTMLElement} */ (byId("photo-samples").firstElementChild).click();
    this.time.play(this.resumes);
    this.draw();
  }

  /** @param {string[]} samples */
  setUpPictures(samples) {
    const buttons = samples.map((address, i) => {
      const button = document.createElement("button");
      const image = Object.assign(new Image(), { src: address, alt: "" });
      button.append(image);
      button.setAttribute("aria-label", `Photograph ${i + 1}`);
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", async () => {
        const wanted = this.asksForPicture();
        await image.decode();
        if (!wanted()) return;
        this.stopCamera();
        if (this.image) this.note("");
        this.show(image, image.naturalWidth, image.naturalHeight);
        this.pressSample(button);
      });
      return button;
    });
    byId("photo-samples").replaceChildren(...buttons);
    const file = /** @type {HTMLInputElement} */ (byId("photo-file"));
    byId("photo-choose").addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      if (file.files?.[0]) this.take(file.files[0]);
      file.value = "";
    });
    acceptPictures(this.element, (dropped) => this.take(dropped));
    byId("photo-camera").addEventListener("click", () => this.toggleCamera());
    for (const button of this.element.querySelectorAll("[data-shift]")) {
      const [dx, dy] = (/** @type {HTMLElement} */ (button).dataset.shift ?? "").split(",").map(Number);
      button.addEventListener("click", () => this.shift(dx, dy));
    }
    byId("photo-mirror").addEventListener("click", () => this.redraw((copy) => {
      this.pictureContext.setTransform(-1, 0, 0, 1, this.picture.width, 0);
      this.pictureContext.drawImage(copy, 0, 0);
      this.pictureContext.resetTransform();
    }));
  }

  setUpBoard() {
    const inspect = (/** @type {PointerEvent} */ event) => {
      const box = this.canvas.getBoundingClientRect();
      const at = (/** @type {number} */ share) => Math.max(0, Math.min(this.world.size - 1, Math.floor(share * this.world.size)));
      const [x, y] = [at((event.clientX - box.left) / box.width), at((event.clientY - box.top) / box.height)];
      this.inspected = y * this.world.size + x;
      if (!this.clock.playing) this.draw();
    };
    this.canvas.addEventListener("pointermove", inspect);
    this.canvas.addEventListener("pointerdown", inspect);
  }

  /** @param {Blob} file */
  async take(file) {
    const wanted = this.asksForPicture();
    try {
      const bitmap = await createImageBitmap(file);
      if (!wanted()) return;
      this.stopCamera();
      this.show(bitmap, bitmap.width, bitmap.height);
      bitmap.close();
      this.pressSample(null);
      this.note("The picture is on this page only.");
    } catch {
      if (wanted()) this.note("This file is not a picture that the browser can read.");
    }
  }

  /** Show which sample is under the cells, if any. @param {HTMLElement | null} button */
  pressSample(button) {
    for (const each of byId("photo-samples").children) each.setAttribute("aria-pressed", String(each === button));
  }

  /** Show the middle square of a picture, on white where it is transparent. @param {CanvasImageSource} source @param {number} width @param {number} height */
  show(source, width, height) {
    const { pictureContext: context, picture } = this;
    context.fillStyle = "white";
    context.fillRect(0, 0, picture.width, picture.height);
    this.drawSquare(source, width, height);
    this.world.markEvent();
    this.draw();
  }

  /** Put the middle square of a picture under the cells. @param {CanvasImageSource} source @param {number} width @param {number} height */
  drawSquare(source, width, height) {
    const [side, shown] = [Math.min(width, height), this.picture.width];
    this.pictureContext.imageSmoothingQuality = "high";
    this.pictureContext.drawImage(source, (width - side) / 2, (height - side) / 2, side, side, 0, 0, shown, shown);
    this.pictureChanged();
  }

  /** Give the picture a whole number of pixels for each pixel that the cells see. */
  fitPicture() {
    const side = this.world.size * Math.ceil(SHOWN_SIDE / this.world.size);
    const { picture, pictureContext: context } = this;
    if (picture.width === side) return;
    const copy = this.copy();
    picture.width = picture.height = side;
    context.imageSmoothingQuality = "high";
    context.drawImage(copy, 0, 0, side, side);
  }

  /** A copy of the picture. */
  copy() {
    const { width, height } = this.picture;
    const copy = Object.assign(document.createElement("canvas"), { width, height });
    copy.getContext("2d")?.drawImage(this.picture, 0, 0);
    return copy;
  }

  /** Move the picture by three cells under the cells; what comes in repeats the edge. @param {number} dx @param {number} dy */
  shift(dx, dy) {
    const pixels = (3 * this.world.model.cell.stride * this.picture.width) / this.world.size;
    this.redraw((copy) => this.pictureContext.drawImage(copy, dx * pixels, dy * pixels));
  }

  /** @param {(copy: HTMLCanvasElement) => void} paint */
  redraw(paint) {
    paint(this.copy());
    this.pictureChanged();
    this.world.markEvent();
    this.draw();
  }

  /** Give the cells the means of the picture's pixels. */
  pictureChanged() {
    const { size } = this.world;
    const side = this.picture.width;
    const { data } = this.pictureContext.getImageData(0, 0, side, side);
    const block = side / size;
    const sums = new Float64Array(size * size * 3);
    for (let y = 0; y < side; y++) {
      const row = Math.floor(y / block) * size;
      for (let x = 0; x < side; x++) {
        const to = 3 * (row + Math.floor(x / block));
        const from = 4 * (y * side + x);
        sums[to] += data[from];
        sums[to + 1] += data[from + 1];
        sums[to + 2] += data[from + 2];
      }
    }
    this.image = Float32Array.from(sums, (sum) => sum / block ** 2 / 127.5 - 1);
    this.world.setImage(this.image);
  }

  async toggleCamera() {
    if (this.camera) return this.stopCamera();
    const wanted = this.asksForCamera();
    try {
      const camera = await startCamera();
      if (!wanted()) return camera.stop();
      camera.whenEnded(() => {
        this.stopCamera();
        this.note("The camera has stopped.");
      });
      this.camera = camera;
      this.pressSample(null);
      pressed("photo-camera", true, "Stop camera");
      this.note("The camera's pictures are used on this page only, and none is kept.");
      this.time.play(true);
    } catch {
      if (wanted()) this.note("The camera cannot be used: the browser or the system does not allow it.");
    }
  }

  /** Stop the camera, or no longer wait for it. */
  stopCamera() {
    this.asksForCamera();
    this.camera?.stop();
    this.camera = undefined;
    pressed("photo-camera", false, "Camera");
  }

  setUpViews() {
    const choose = (/** @type {string} */ view) => {
      this.view = view;
      byId("photo-view-text").textContent = VIEWS[/** @type {keyof typeof VIEWS} */ (view)];
      for (const button of this.element.querySelectorAll("[data-view]")) {
        const chosen = /** @type {HTMLElement} */ (button).dataset.view === view;
        button.setAttribute("aria-checked", String(chosen));
        /** @type {HTMLElement} */ (button).tabIndex = chosen ? 0 : -1;
      }
      this.draw();
    };
    radioGroup(this.element, "[data-view]", (button) => choose(button.dataset.view ?? "labels"));
    choose("labels");
  }

  setUpSettings() {
    const select = fillSelect("photo-model", this.entries.map(({ name }) => [name, name]));
    select.value = this.world.model.name;
    const size = /** @type {HTMLSelectElement} */ (byId("photo-size"));
    const asks = requests();
    const change = async () => {
      const wanted = asks();
      const entry = this.entries.find(({ name }) => name === select.value);
      const model = entry && (await loadModel(entry));
      if (!model || !wanted()) return;
      this.inspected = null;
      this.world.use(model, Number(size.value) * model.cell.stride);
      this.fitPicture();
      this.stateColours = new StateColours(model.cell.state_channels);
      this.describeModel();
      this.pictureChanged();
      this.draw();
    };
    const keep = () => {
      const { model, size: side } = this.world;
      [select.value, size.value] = [model.name, String(side / model.cell.stride)];
    };
    select.addEventListener("change", () => attempt(change, keep));
    size.addEventListener("change", () => attempt(change, keep));
    const { fireRate } = this.world;
    onRange("photo-fire-rate", (value) => {
      this.world.fireRate = value;
      byId("photo-fire-rate-value").textContent = inPercent(value);
    });
    this.world.fireRate = fireRate;
    this.describeModel();
  }

  describeModel() {
    const { model, fireRate } = this.world;
    byId("photo-model-summary").textContent = model.summary;
    showRange("photo-fire-rate", fireRate);
    byId("photo-fire-rate-value").textContent = inPercent(fireRate);
  }

  singleStep() {
    this.time.play(false);
    this.takeFrame();
    this.world.step();
    this.draw();
  }

  restart() {
    this.world.restart();
    this.draw();
  }

  /** @param {string} text */
  note(text) {
    byId("photo-note").textContent = text;
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (this.element.hidden || typing(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const arrow = arrows[/** @type {keyof typeof arrows} */ (event.key)];
    const here = document.activeElement === this.canvas;
    if (here && arrow && event.shiftKey) this.inspectBeside(arrow[0], arrow[1]);
    else if (here && arrow) this.shift(arrow[0], arrow[1]);
    else if (here && event.key === "Enter") this.inspectBeside(0, 0);
    else if (here && event.key === "Escape") this.inspectNone();
    else if (event.repeat && event.key !== ".") {
      if (event.key === " " && !spacePresses()) event.preventDefault(); // it would scroll the page
      return;
    } else if (event.key === " " && !spacePresses()) this.time.toggle();
    else if (event.key === ".") this.singleStep();
    else if (event.key.toLowerCase() === "r") this.restart();
    else return;
    event.preventDefault();
  }

  /** Inspect the cell that is dx, dy cells from the inspected one, or from the middle if none is inspected. @param {number} dx @param {number} dy */
  inspectBeside(dx, dy) {
    const { size, model } = this.world;
    const at = this.inspected ?? Math.floor((size * size + size) / 2);
    const [x, y] = [(at % size) + dx * model.cell.stride, Math.floor(at / size) + dy * model.cell.stride];
    if (x < 0 || x >= size || y < 0 || y >= size) return;
    this.inspected = y * size + x;
    if (!this.clock.playing) this.draw();
  }

  inspectNone() {
    this.inspected = null;
    this.draw();
  }

  /** One frame while time runs. */
  frame() {
    this.takeFrame();
    this.draw();
  }

  /** Show the cells what the camera sees, if it is on. */
  takeFrame() {
    const frame = this.camera?.frame();
    if (frame) this.drawSquare(frame, frame.videoWidth, frame.videoHeight);
  }

  draw() {
    if (this.element.hidden) return;
    const { world, time } = this;
    time.show(world.t);
    this.paint();
    if (this.clock.playing && this.frames++ % 3) return;
    const theme = readTheme();
    paintChart(/** @type {HTMLCanvasElement} */ (byId("photo-chart")), world.history, SEGMENTATION, theme);
    paintGate(/** @type {HTMLCanvasElement} */ (byId("photo-gate")), world.history, theme);
    this.explain(theme);
    const latest = world.history[world.history.length - 1];
    byId("photo-legend").replaceChildren(
      ...NAMES.map((name, label) => {
        const entry = document.createElement("span");
        entry.style.setProperty("--label", css(SEGMENTATION[label]));
        const share = latest ? ` ${wholePercent(latest.counts[label], latest.live)} %` : "";
        entry.append(document.createElement("i"), `${name}${share}`);
        return entry;
      }),
    );
  }

  /** Explain the inspected cell; nothing before the first step. @param {import("./theme.js").PageTheme} theme */
  explain(theme) {
    const { world, inspected } = this;
    const shown = inspected !== null && world.t > 0; // before the first step a norm knows no means
    byId("photo-explained-intro").hidden = shown;
    if (!shown) {
      this.explained.element.hidden = true;
      return;
    }
    const { size, model, automaton } = world;
    const { stride, labels: L } = model.cell;
    const row = Math.floor(inspected / size / stride);
    const subject = {
      automaton,
      index: row * automaton.width + Math.floor((inspected % size) / stride),
      label: world.labels[inspected],
      fireRate: world.fireRate,
      noise: model.cell.noise,
      votes: world.votes.subarray(inspected * L, (inspected + 1) * L),
    };
    this.explained.show(subject, SEGMENTATION, theme);
  }

  /** The picture, and the view of the cells over it. */
  paint() {
    const { context, world } = this;
    const pixels = new ImageData(world.size, world.size);
    if (this.view === "labels") this.paintLabels(pixels.data);
    else if (this.view === "state") this.paintState(pixels.data);
    else if (this.view === "gate") this.paintGates(pixels.data);
    else this.paintSeen(pixels.data);
    const { small } = this;
    if (small.width !== world.size) small.width = small.height = world.size;
    small.getContext("2d")?.putImageData(pixels, 0, 0);
    context.filter = this.view === "labels" ? "grayscale(0.75)" : "none";
    context.imageSmoothingEnabled = true;
    context.drawImage(this.picture, 0, 0, SHOWN_SIDE, SHOWN_SIDE);
    context.filter = "none";
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, SHOWN_SIDE, SHOWN_SIDE);
    if (this.inspected === null) return;
    const { stride } = world.model.cell;
    const scale = (SHOWN_SIDE / world.size) * stride; // of a cell
    const [column, row] = [(this.inspected % world.size) / stride, this.inspected / world.size / stride].map(Math.floor);
    const [x, y] = [column * scale, row * scale];
    for (const [colour, width] of /** @type {const} */ ([["white", 4], ["black", 1.5]])) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(x - scale, y - scale, 3 * scale, 3 * scale);
    }
  }

  /** @param {Uint8ClampedArray} pixels */
  paintLabels(pixels) {
    this.world.labels.forEach((label, i) => {
      const [r, g, b] = SEGMENTATION[label];
      pixels.set([r, g, b, 255 * (label === 0 ? VEIL * 0.8 : VEIL)], 4 * i);
    });
  }

  /** @param {Uint8ClampedArray} pixels */
  paintState(pixels) {
    const { automaton } = this.world;
    const colours = this.stateColours.colours(automaton.getState());
    this.forPixels((pixel, cell) => {
      pixels.set([255 * colours[3 * cell], 255 * colours[3 * cell + 1], 255 * colours[3 * cell + 2], 255], 4 * pixel);
    });
  }

  /** @param {Uint8ClampedArray} pixels */
  paintGates(pixels) {
    const { gates } = this.world.automaton;
    this.forPixels((pixel, cell) => pixels.set([255, 200, 60, 255 * Math.sqrt(gates[cell])], 4 * pixel));
    for (let i = 0; i < pixels.length; i += 4) {
      const alpha = pixels[i + 3] / 255;
      for (let c = 0; c < 3; c++) pixels[i + c] *= alpha;
      pixels[i + 3] = 255;
    }
  }

  /** @param {Uint8ClampedArray} pixels */
  paintSeen(pixels) {
    const image = this.image ?? new Float32Array(0);
    for (let i = 0; i < image.length / 3; i++) {
      for (let c = 0; c < 3; c++) pixels[4 * i + c] = (image[3 * i + c] + 1) * 127.5;
      pixels[4 * i + 3] = 255;
    }
  }

  /** Call `visit` with each pixel and the cell that it belongs to. @param {(pixel: number, cell: number) => void} visit */
  forPixels(visit) {
    const { size, model, automaton } = this.world;
    for (let pixel = 0; pixel < size * size; pixel++) {
      const [x, y] = [pixel % size, Math.floor(pixel / size)];
      visit(pixel, Math.floor(y / model.cell.stride) * automaton.width + Math.floor(x / model.cell.stride));
    }
  }
}

/**
 * The mean gate over time; the highest bar is the largest value shown, or a tenth.
 *
 * @param {HTMLCanvasElement} canvas @param {import("./photo_world.js").PhotoMoment[]} history
 * @param {import("./board.js").Theme} theme
 */
function paintGate(canvas, history, theme) {
  const { context, ratio, width, height } = blank(canvas);
  const column = Math.max(1, Math.round(2 * ratio));
  const shown = history.slice(-Math.floor(width / column));
  const most = Math.max(0.1, ...shown.map(({ gate }) => gate));
  context.fillStyle = css(theme.accent);
  shown.forEach(({ gate, event }, i) => {
    const bar = (gate / most) * (height - 4);
    context.fillRect(i * column, height - bar, column, bar);
    if (event) context.fillRect(i * column, 0, ratio, height);
  });
}
