/** The digits page: connects the world with the board, the buttons and the panels. */

import { Board } from "./board.js";
import { stroke, forPixelsNear } from "./brush.js";
import { Channels } from "./channels.js";
import { paintChart } from "./chart.js";
import { Clock } from "./clock.js";
import { loadModel, models, preferred, readJson } from "./catalogue.js";
import { digit } from "./digit_picture.js";
import { agreed, DigitsWorld, UNDECIDED } from "./digits_world.js";
import {
  attempt, byId, complain, fillSelect, inPercent, onRange, prefersLittleMotion, pressed, radioGroup, requests, showRange,
  spacePresses, typing, wholePercent,
} from "./dom.js";
import { countPieces, EXPERIMENTS, paste } from "./experiments.js";
import { Explained } from "./explained.js";
import { download, drawingCanvas, GifRecorder, recordsVideo, recordVideo } from "./keeping.js";
import { css, readableOn, turned } from "./palettes.js";
import { acceptPictures, readPicture } from "./pictures.js";
import { isSeed, readLink, writeLink } from "./share_link.js";
import { readTheme } from "./theme.js";
import { TimeControls } from "./time_controls.js";
import { unpack } from "./packed.js";

const WORDS = {
  seen: () => `Its own ink and state and those of its eight neighbours: each tile is one channel, the first is ink.
    Where nothing lives it sees zeros.`,
  says: "The largest of its last ten channels. No cell ever sees the whole digit.",
  names: [..."0123456789"],
};
const MOST_UNDONE = 30;
const FIELD = 28; // pixels of a sample's side
const FIRST_DIGIT = 2;
const REPEATABLE = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "[", "]", "."];
const INVITATION = "Press one, and watch the cells find their way back.";
const MIDDLE_BUTTON = 1;
const ERASES = 2 | 32; // the right button of a mouse, and the other end of a pen
const OPENING_SPEED = 10; // steps a second: slow enough to see the cells disagree

export class DigitsPage {
  /** Read models and samples, and show the drawing of the link or a first digit. */
  static async open() {
    const [entries, sheet] = await Promise.all([models("digits"), readJson("samples/digits.json")]);
    const link = readLink(location.hash);
    const meant = entries.find(({ name }) => name === link.model);
    const entry = meant ?? preferred(entries);
    if (!entry) throw new Error("no weights of a digits automaton came with this page");
    if (link.model && !meant) complain(`The model of this link, ${link.model}, is not here: ${entry.name} is shown.`);
    else if (link.drawn && !link.image) complain("The drawing of this link cannot be read; the link may be cut short.");
    const samples = sheet.packed.map((/** @type {string[]} */ packed) =>
      packed.map((text) => /** @type {Uint8Array} */ (unpack(text, sheet.size ** 2))),
    );
    byId("credits").textContent = `The sample digits are from ${sheet.source}.`;
    return new DigitsPage(await loadModel(entry), entries, samples, link);
  }

  /**
   * @param {import("./catalogue.js").Model} model
   * @param {import("./catalogue.js").Entry[]} entries
   * @param {Uint8Array[][]} samples by label
   * @param {import("./share_link.js").Link} link
   */
  constructor(model, entries, samples, link) {
    this.entries = entries;
    this.samples = samples;
    this.shown = samples.map(() => 0); // the sample that the next press loads
    this.element = byId("digits");
    this.world = new DigitsWorld(model, { size: link.size, seed: link.seed });
    this.board = new Board(/** @type {HTMLCanvasElement} */ (byId("board")));
    this.explained = new Explained(byId("explained"), WORDS);
    this.channels = new Channels(byId("channels"), this.world);
    this.tool = "pencil";
    this.brush = 2.5;
    /** @type {number | null} */
    this.inspected = null;
    /** @type {number | null} */
    this.cursor = null;
    this.palette = { name: "colorblind", hue: 0 };
    /** @type {{image: Uint8Array, state: Float32Array, size: number, model: import("./catalogue.js").Model}[]} */
    this.undone = [];
    this.asksForPicture = requests();
    this.opening = !link.image; // whether the board shows the example that the page opens with, as nobody has drawn yet
    this.resumes = !prefersLittleMotion(); // whether to play when the page is shown again
    /** @type {GifRecorder | null} */
    this.film = null;
    this.finding = "";
    this.slot = 0;
    this.frames = 0;
    this.drawing = 0;
    this.clock = new Clock({ step: () => this.step(), draw: () => this.draw() });
    this.clock.speed = OPENING_SPEED;

    this.setUpTools();
    this.setUpBoard();
    this.setUpSamples();
    this.time = new TimeControls("", this.clock, { step: () => this.singleStep(), restart: () => this.restart() });
    this.setUpExperiments();
    this.setUpSettings();
    this.setUpKeeping();
    document.addEventListener("keydown", (event) => this.onKey(event));
    this.recolour();
    new ResizeObserver(() => this.drawSoon()).observe(this.board.canvas);
    addEventListener("resize", () => this.drawSoon()); // the charts

    if (link.image) this.world.setImage(link.image, { restart: true });
    else this.world.setImage(paste(this.world, samples[FIRST_DIGIT][0]), { restart: true });
    this.world.settings = { noise: model.cell.noise, fire_rate: model.cell.fire_rate, ...link.settings };
    this.showSettings();
    this.draw();
    if (!this.element.hidden) this.play(this.resumes);
  }

  // --- what happens -------------------------------------------------------------------------------------------------

  step() {
    this.world.step();
    this.film?.add(this.world);
    if (this.film?.full) this.stopFilm();
  }

  /** Run a change of the drawing so that it can be undone. @param {() => void} change */
  change(change) {
    const { image, size, automaton, model } = this.world;
    this.opening = false;
    this.undone.push({ image: image.slice(), state: automaton.getState(), size, model });
    if (this.undone.length > MOST_UNDONE) this.undone.shift();
    this.finding = "";
    change();
    this.draw();
  }

  undo() {
    const before = this.undone.pop();
    if (!before) return;
    if (before.size !== this.world.size) this.resize(before.size);
    this.world.setImage(before.image);
    if (before.model === this.world.model) this.world.automaton.setState(before.state);
    this.world.automaton.mutate();
    this.world.predict();
    this.finding = "";
    this.draw();
  }

  /** Put the next sample of a label under the cells. @param {number} label */
  mutate(label) {
    const { world, samples, shown } = this;
    const sample = samples[label][shown[label]];
    shown[label] = (shown[label] + 1) % samples[label].length;
    this.change(() => {
      const restart = this.restartsAtMutation();
      if (world.size === FIELD) world.setImage(sample, { restart });
      else world.setImage(this.onSheet(sample), { restart });
    });
    this.paintSample(label);
  }

  /** The drawing with a sample in the next place of a larger board. @param {Uint8Array} sample */
  onSheet(sample) {
    const { world } = this;
    const places = Math.floor(world.size / FIELD);
    const margin = Math.floor((world.size - places * FIELD) / 2);
    const slot = this.slot++ % (places * places);
    const left = margin + (slot % places) * FIELD;
    const top = margin + Math.floor(slot / places) * FIELD;
    const placed = paste(world, sample, left, top);
    return world.image.map((ink, i) => {
      const [x, y] = [i % world.size, Math.floor(i / world.size)];
      const inside = x >= left && x < left + FIELD && y >= top && y < top + FIELD;
      return inside ? placed[i] : ink;
    });
  }

  restartsAtMutation() {
    return /** @type {HTMLInputElement} */ (document.querySelector("[name=mutation][value=restart]")).checked;
  }

  /** @param {number} size */
  resize(size) {
    if (this.film) this.stopFilm(); // a film has one size
    const before = this.world.image;
    const side = this.world.size;
    this.world.resize(size);
    const shift = Math.floor((size - side) / 2);
    this.world.setImage(paste(this.world, before, shift, shift));
    this.slot = 0;
    this.inspected = this.cursor = null;
    this.channels = new Channels(byId("channels"), this.world);
    this.showSettings();
    this.draw();
  }

  /** @param {boolean} playing */
  play(playing) {
    this.time.play(playing);
    this.draw();
  }

  /** Stop time while another page is shown. */
  leave() {
    this.resumes = this.clock.playing;
    this.time.play(false);
  }

  /** Show the page again, as it was left. */
  comeBack() {
    this.play(this.resumes);
  }

  // --- parts of the page --------------------------------------------------------------------------------------------

  setUpTools() {
    radioGroup(this.element, "[data-tool]", (button) => this.setTool(button.dataset.tool ?? "pencil"));
    onRange("brush", (value) => {
      this.brush = value;
      byId("brush-size").textContent = `${value} px`;
    });
    byId("undo").addEventListener("click", () => this.undo());
    byId("clear").addEventListener("click", () => this.clear());
  }

  clear() {
    if (this.world.image.every((ink) => !ink)) return; // nothing to undo
    this.change(() => this.world.setImage(new Uint8Array(this.world.image.length)));
  }

  /** @param {string} tool */
  setTool(tool) {
    this.tool = tool;
    for (const button of this.element.querySelectorAll("[data-tool]")) {
      const chosen = /** @type {HTMLElement} */ (button).dataset.tool === tool;
      button.setAttribute("aria-checked", String(chosen));
      /** @type {HTMLElement} */ (button).tabIndex = chosen ? 0 : -1;
    }
    this.board.canvas.dataset.tool = tool;
    this.drawSoon();
  }

  setUpBoard() {
    const { canvas } = this.board;
    /** @type {{x: number, y: number} | null} */
    let from = null;
    let pointer = NaN; // the one that draws: other fingers, and a palm beside a pen, do not
    canvas.addEventListener("pointerdown", (event) => {
      if ((from && event.pointerId !== pointer) || event.button === MIDDLE_BUTTON) return;
      pointer = event.pointerId;
      canvas.setPointerCapture(pointer);
      this.cursor = null;
      from = this.board.placeOf(event, this.world.size);
      if (this.tool === "inspect") this.inspect(from);
      else this.begin(from, (event.buttons & ERASES) !== 0);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from) {
        if (event.pointerType === "mouse") this.inspect(this.board.placeOf(event, this.world.size));
        return;
      }
      if (event.pointerId !== pointer) return;
      const events = event.getCoalescedEvents?.() ?? [];
      const places = [from, ...(events.length ? events : [event]).map((each) => this.board.placeOf(each, this.world.size))];
      from = places[places.length - 1];
      if (this.tool === "inspect") this.inspect(from);
      else this.apply(places, { erase: (event.buttons & ERASES) !== 0 });
      this.drawSoon();
    });
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
      canvas.addEventListener(name, (event) => {
        if (/** @type {PointerEvent} */ (event).pointerId === pointer) from = null;
      });
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("blur", () => {
      this.cursor = null;
      this.draw();
    });
    acceptPictures(this.element, (file) => this.importPicture(file));
  }

  /**
   * Use the tool at a point. The example that the page opened with gives way to the first stroke.
   *
   * @param {{x: number, y: number}} place @param {boolean} erase
   */
  begin(place, erase = false) {
    const blank = this.opening && this.tool === "pencil" && !erase;
    this.change(() => {
      if (blank) this.world.setImage(new Uint8Array(this.world.image.length));
      this.apply([place, place], { erase, marked: true });
    });
  }

  /**
   * Use the tool along the lines from place to place.
   *
   * @param {{x: number, y: number}[]} places at least two
   * @param {{erase?: boolean, marked?: boolean}} options marked: the chart shows when
   */
  apply(places, { erase = false, marked = false }) {
    const { world } = this;
    const lines = places.slice(1).map(({ x, y }, i) => ({ x0: places[i].x, y0: places[i].y, x1: x, y1: y }));
    if (this.tool === "wound" && !erase) {
      /** @type {Set<number>} */
      const cells = new Set();
      for (const line of lines) {
        forPixelsNear(world.size, line, Math.max(0.75, this.brush / 2), (index) => cells.add(index));
      }
      world.wound([...cells], { marked });
      return;
    }
    for (const line of lines) stroke(world.image, world.size, line, this.brush, erase || this.tool === "eraser");
    world.setImage(world.image, { marked });
  }

  /** @param {{x: number, y: number}} place */
  inspect({ x, y }) {
    const { size, automaton } = this.world;
    if (!(x >= 0 && x < size && y >= 0 && y < size)) return;
    const index = Math.floor(y) * size + Math.floor(x);
    if (!automaton.live[index] || index === this.inspected) return;
    this.inspected = index;
    this.drawSoon();
  }

  setUpSamples() {
    const buttons = this.samples.map((_, label) => {
      const button = document.createElement("button");
      button.innerHTML = `<canvas width="${FIELD}" height="${FIELD}" aria-hidden="true"></canvas>
        <b><span class="unseen">Load a </span>${label}</b><small></small><i class="share"></i>`;
      button.title = `Another ${label} (key ${label})`;
      button.addEventListener("click", () => this.mutate(label));
      return button;
    });
    byId("samples").replaceChildren(...buttons);
    this.sampleButtons = buttons;
  }

  /** The next sample of a label in the label's colour. @param {number} label */
  paintSample(label) {
    const button = this.sampleButtons?.[label];
    const context = button?.querySelector("canvas")?.getContext("2d");
    if (!button || !context) return;
    const pixels = new ImageData(FIELD, FIELD);
    const [r, g, b] = this.colours[label];
    this.samples[label][this.shown[label]].forEach((ink, i) => pixels.data.set([r, g, b, ink], 4 * i));
    context.putImageData(pixels, 0, 0);
    button.style.setProperty("--label", css(this.colours[label]));
  }

  singleStep() {
    this.play(false);
    this.step();
    this.draw();
  }

  restart() {
    this.world.restart();
    this.finding = "";
    this.draw();
  }

  setUpExperiments() {
    const buttons = EXPERIMENTS.map((experiment) => {
      const button = document.createElement("button");
      button.textContent = experiment.name;
      button.addEventListener("click", () => {
        this.change(() => experiment.run(this.world, this.samples));
        this.finding = experiment.why;
        byId("experiment-announcement").textContent = experiment.why;
        this.draw();
        this.board.canvas.scrollIntoView({ block: "nearest", behavior: prefersLittleMotion() ? "auto" : "smooth" });
      });
      return button;
    });
    byId("experiments").replaceChildren(...buttons);
    this.experimentButtons = buttons;
  }

  setUpSettings() {
    const select = fillSelect("model", this.entries.map(({ name }) => [name, name]));
    const asks = requests();
    const change = async () => {
      const wanted = asks();
      const entry = this.entries.find(({ name }) => name === select.value);
      const model = entry && (await loadModel(entry));
      if (model && wanted()) this.use(model);
    };
    select.addEventListener("change", () => attempt(change, () => this.showSettings()));
    onRange("fire-rate", (value) => {
      this.world.settings.fire_rate = value;
      this.writeSettings();
    });
    onRange("noise", (value) => {
      this.world.settings.noise = value;
      this.writeSettings();
    });
    byId("show-fires").addEventListener("change", () => this.draw());
    const size = /** @type {HTMLSelectElement} */ (byId("size"));
    size.addEventListener("change", () => this.change(() => this.resize(Number(size.value))));
    const palette = /** @type {HTMLSelectElement} */ (byId("palette"));
    palette.addEventListener("change", () => {
      this.palette.name = palette.value;
      this.recolour();
    });
    onRange("hue", (value) => {
      this.palette.hue = value;
      byId("hue-value").textContent = `${value} deg`;
      if (this.board.theme) this.recolour();
    });
    const seed = /** @type {HTMLInputElement} */ (byId("seed"));
    seed.addEventListener("change", () => this.reseed(seed.value));
    byId("new-seed").addEventListener("click", () => this.reseed(String(Math.floor(Math.random() * 2 ** 32))));
  }

  /** @param {import("./catalogue.js").Model} model */
  use(model) {
    this.world.settings = { noise: model.cell.noise, fire_rate: model.cell.fire_rate };
    this.world.use(model);
    this.finding = "";
    this.channels = new Channels(byId("channels"), this.world);
    this.showSettings();
    this.draw();
  }

  /** @param {string} seed */
  reseed(seed) {
    if (isSeed(seed.trim())) {
      this.world.seed = seed.trim();
      this.restart();
      complain("");
    } else complain(`A seed is a whole number from 0 to 2^64 - 1, got "${seed}".`);
    this.showSettings();
  }

  /** Show the world's settings in their controls. */
  showSettings() {
    const { model, settings, seed, size } = this.world;
    for (const [id, value] of Object.entries({ model: model.name, seed, size })) {
      /** @type {HTMLInputElement} */ (byId(id)).value = String(value);
    }
    showRange("fire-rate", settings.fire_rate);
    showRange("noise", settings.noise);
    this.writeSettings();
    byId("model-summary").textContent = model.summary;
    const own = model.cell.state_channels - model.cell.labels;
    byId("channels-text").textContent =
      `The first ${own} channels are the cells' private language; the last ${model.cell.labels} are their votes.`;
  }

  writeSettings() {
    const { fire_rate, noise } = this.world.settings;
    byId("fire-rate-value").textContent = inPercent(fire_rate);
    byId("noise-value").textContent = noise.toFixed(3);
  }

  setUpKeeping() {
    const file = /** @type {HTMLInputElement} */ (byId("import-file"));
    byId("import").addEventListener("click", () => file.click());
    file.addEventListener("change", () => {
      if (file.files?.[0]) this.importPicture(file.files[0]);
      file.value = "";
    });
    byId("save-png").addEventListener("click", () => this.savePng());
    byId("record-gif").addEventListener("click", () => (this.film ? this.stopFilm() : this.startFilm()));
    const video = byId("record-webm");
    video.hidden = !recordsVideo();
    video.addEventListener("click", () => this.toggleVideo());
    byId("copy-link").addEventListener("click", () => this.copyLink());
  }

  /** @param {Blob} file */
  async importPicture(file) {
    const wanted = this.asksForPicture();
    try {
      const picture = await readPicture(file);
      if (!wanted()) return;
      const { pixels, done } = digit(picture);
      this.change(() => this.world.setImage(paste(this.world, pixels), { restart: this.restartsAtMutation() }));
      this.keep(`The picture was prepared as MNIST's digits were: ${done.join("; ")}.`);
    } catch (error) {
      if (!wanted()) return;
      const { message } = /** @type {Error} */ (error);
      this.keep(`${message[0].toUpperCase()}${message.slice(1)}.`);
    }
  }

  /** @param {string} text */
  keep(text) {
    byId("kept").textContent = text;
  }

  async savePng() {
    const { canvas } = this.board;
    canvas.toBlob((blob) => blob && download(blob, "cells.png"), "image/png");
    const drawing = await drawingCanvas(this.world).convertToBlob({ type: "image/png" });
    download(drawing, "drawing.png");
    this.keep("Saved the cells in their colours, and the drawing alone with a pixel a cell.");
  }

  startFilm() {
    this.film = new GifRecorder(this.world.size, this.colours, readTheme());
    pressed("record-gif", true, "Stop and save GIF");
    this.keep("Recording a frame of each step, 400 at most. Disturb the cells, or little will happen.");
    this.play(true);
  }

  stopFilm() {
    const film = this.film;
    this.film = null;
    pressed("record-gif", false, "Record GIF");
    if (!film?.frames.length) return this.keep("Nothing was recorded.");
    download(film.finish(), "cells.gif");
    this.keep(`Saved ${film.frames.length} steps.`);
  }

  async toggleVideo() {
    if (this.stopVideo) {
      const stop = this.stopVideo;
      this.stopVideo = undefined;
      pressed("record-webm", false, "Record WebM");
      download(await stop(), "cells.webm");
      this.keep("Saved the film.");
      return;
    }
    this.stopVideo = recordVideo(this.board.canvas);
    pressed("record-webm", true, "Stop and save WebM");
    this.keep("Recording what the board shows.");
    this.play(true);
  }

  async copyLink() {
    const { world } = this;
    history.replaceState(null, "", `#${writeLink(world)}`); // does not reload the page
    try {
      await navigator.clipboard.writeText(location.href);
      this.keep("The link is in the clipboard.");
    } catch {
      this.keep(parent === self ? "The link is in the address bar." : `The link: ${location.href}`);
    }
  }

  // --- keys ---------------------------------------------------------------------------------------------------------

  /** @param {KeyboardEvent} event */
  onKey(event) {
    if (this.element.hidden || typing(event)) return;
    const { key } = event;
    if ((event.ctrlKey || event.metaKey) && key.toLowerCase() === "z" && !event.shiftKey) this.undo();
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.repeat && !REPEATABLE.includes(key)) { // held keys would fill the undo list
      if (key === " " && !spacePresses()) event.preventDefault(); // it would scroll the page
      return;
    } else if (document.activeElement === this.board.canvas && this.moveCursor(key)) event.preventDefault();
    else if (/^[0-9]$/.test(key)) this.mutate(Number(key));
    else if (key === " ") {
      if (spacePresses()) return;
      this.time.toggle();
    } else if (key === ".") this.singleStep();
    else if (key === "Delete" || key === "Backspace") this.clear();
    else if (key === "[" || key === "]") this.setBrush(this.brush + (key === "]" ? 0.5 : -0.5));
    else {
      const tool = { p: "pencil", e: "eraser", w: "wound", i: "inspect" }[key.toLowerCase()];
      if (key.toLowerCase() === "r") this.restart();
      else if (tool) this.setTool(tool);
      else return;
    }
    event.preventDefault();
  }

  /** @param {number} width */
  setBrush(width) {
    const slider = /** @type {HTMLInputElement} */ (byId("brush"));
    slider.value = String(width);
    slider.dispatchEvent(new Event("input"));
  }

  /** Move the keyboard's cursor, or use the tool there. Whether the key did that. @param {string} key */
  moveCursor(key) {
    const { size } = this.world;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -size, ArrowDown: size };
    const cursor = this.cursor ?? Math.floor((size * size + size) / 2);
    const place = { x: (cursor % size) + 0.5, y: Math.floor(cursor / size) + 0.5 };
    if (key === "Enter") {
      this.cursor = cursor;
      if (this.tool === "inspect") this.inspect(place);
      else this.begin(place);
      return true;
    }
    const step = steps[/** @type {keyof typeof steps} */ (key)];
    if (!step) return false;
    const next = cursor + step;
    const wraps = Math.abs(step) === 1 && Math.floor(next / size) !== Math.floor(cursor / size);
    this.cursor = next < 0 || next >= size * size || wraps ? cursor : next;
    if (this.tool === "inspect") this.inspect({ x: (this.cursor % size) + 0.5, y: Math.floor(this.cursor / size) + 0.5 });
    this.draw();
    return true;
  }

  // --- drawing ------------------------------------------------------------------------------------------------------

  get colours() {
    return turned(this.palette.name, this.palette.hue);
  }

  /** After the palette or the theme has changed. */
  recolour() {
    this.board.setColours(this.colours, readTheme());
    this.samples.forEach((_, label) => this.paintSample(label));
    this.draw();
  }

  /** Draw in the next frame, once for all that happens until then. */
  drawSoon() {
    if (this.clock.playing || this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      this.draw();
    });
  }

  draw() {
    if (this.element.hidden || !this.board.theme) return;
    const { world, board, clock } = this;
    const fires = /** @type {HTMLInputElement} */ (byId("show-fires")).checked;
    board.fit(world.size);
    board.paint(world, { fires, cursor: this.cursor, inspected: this.tool === "inspect" ? this.inspected : null });
    const moment = world.moment();
    byId("ghost").hidden = moment.live > 0;
    this.time.show(world.t);
    this.showVerdict(moment);
    this.showNumbers(moment);
    this.frames++;
    if (clock.playing && this.frames % 3) return; // the panels cost more than the board
    this.drawPanels(moment);
  }

  /** @param {import("./digits_world.js").Moment} moment */
  drawPanels(moment) {
    const { world, colours } = this;
    const theme = readTheme();
    paintChart(/** @type {HTMLCanvasElement} */ (byId("chart")), world.history, colours, theme);
    this.channels.paint(world, theme.paper, theme.dim);
    if (this.inspected !== null && !world.automaton.live[this.inspected]) this.inspected = null;
    const explains = this.inspected !== null && (world.t > 0 || world.model.cell.norm === "none"); // a norm needs a step
    byId("explained-intro").hidden = explains;
    if (this.inspected === null || !explains) this.explained.element.hidden = true;
    else this.explained.show(this.subject(this.inspected), colours, theme);
    for (const button of this.experimentButtons ?? []) button.disabled = !moment.live;
    const finding = this.finding ? `${this.finding} ${this.recovery()}` : INVITATION;
    if (byId("finding").textContent !== finding) byId("finding").textContent = finding;
    const near = this.tool === "inspect" ? this.inspection() : this.finding && finding;
    if (byId("near-board").textContent !== near) byId("near-board").textContent = near;
  }

  /** The share of each label, and how many cells there are. @param {import("./digits_world.js").Moment} moment */
  showNumbers(moment) {
    const write = (/** @type {HTMLElement} */ element, /** @type {string} */ text) => {
      if (element.textContent !== text) element.textContent = text;
    };
    this.sampleButtons?.forEach((button, label) => {
      const count = moment.counts[label];
      button.style.setProperty("--share", String(count / (moment.live || 1)));
      const percent = count ? `${wholePercent(count, moment.live)}%` : "";
      write(/** @type {HTMLElement} */ (button.querySelector("small")), percent);
    });
    const disagreement = this.world.agreedAt < 0 ? "none yet" : "lost";
    write(byId("agreement"), moment.live ? (agreed(moment) ? "total" : disagreement) : "-");
    write(byId("living"), String(moment.live));
    write(byId("undecided"), String(moment.undecided));
  }

  /** A cell for the explanation. @param {number} index */
  subject(index) {
    const { automaton, labels, settings } = this.world;
    const end = (automaton.place(index) + 1) * automaton.channels;
    return {
      automaton,
      index,
      label: labels[index] === UNDECIDED ? null : labels[index],
      fireRate: settings.fire_rate,
      noise: settings.noise,
      votes: automaton.grid.subarray(end - automaton.cell.labels, end),
    };
  }

  /** One sentence on the inspected cell, for screens on which its panel is far from the board. */
  inspection() {
    if (this.inspected === null) return "Tap a living cell.";
    const label = this.world.labels[this.inspected];
    const says = label === UNDECIDED ? "is undecided" : `says ${label}`;
    return `This cell ${says}. See what it computes below, in “Inside one cell”.`;
  }

  /** How far the cells have come since the last disturbance. */
  recovery() {
    const { world } = this;
    const pieces = countPieces(world);
    const parts = pieces > 1 ? ` There are ${pieces} separate pieces.` : "";
    const steps = (/** @type {number} */ count) => `${count} step${count === 1 ? "" : "s"}`;
    if (world.agreedAt < 0) return `${steps(world.t - world.disturbedAt)} without agreement so far.${parts}`;
    const after = steps(world.agreedAt - world.disturbedAt);
    if (agreed(world.moment())) return `They agreed again after ${after}.${parts}`;
    return `They agreed after ${after}, and disagree again.${parts}`;
  }

  /** @param {import("./digits_world.js").Moment} moment */
  showVerdict(moment) {
    const verdict = byId("verdict");
    const { text, label } = verdictOf(moment, this.clock.playing);
    const colour = label === null ? "transparent" : css(this.colours[label]);
    const shown = `${label} ${colour} ${text}`;
    if (verdict.dataset.shown === shown) return;
    verdict.dataset.shown = shown;
    verdict.style.setProperty("--label", colour);
    verdict.style.setProperty("--on-label", label === null ? "inherit" : readableOn(this.colours[label]));
    const chip = document.createElement("b");
    chip.textContent = label === null ? "?" : String(label);
    chip.className = label === null ? "chip unknown" : "chip";
    const words = document.createElement("span");
    words.textContent = text;
    verdict.replaceChildren(chip, words);
    byId("announcement").textContent = agreed(moment) ? `All ${moment.live} cells say ${label}.` : "";
  }
}

/**
 * What the cells say, in words, and the label of most.
 *
 * @param {import("./digits_world.js").Moment} moment
 * @param {boolean} playing
 */
function verdictOf({ counts, undecided, live }, playing) {
  if (!live) return { text: "Draw a digit, or press one below.", label: null };
  const ranking = counts.map((count, label) => ({ count, label })).sort((a, b) => b.count - a.count);
  const [first, second] = ranking;
  const percent = (/** @type {number} */ count) => wholePercent(count, live);
  if (undecided > live / 2) {
    const doing = playing ? "are finding out what they form" : "wait: time is paused, press Play";
    return { text: `${live} cells ${doing}.`, label: null };
  }
  if (first.count === live) return { text: `All ${live} cells agree.`, label: first.label };
  const rest = second.count ? `, ${percent(second.count)} % say ${second.label}` : "";
  return { text: `${percent(first.count)} % of ${live} cells say ${first.label}${rest}.`, label: first.label };
}
