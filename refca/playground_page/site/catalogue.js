/**
 * Where models and samples come from: files beside the page, or what `--export` put into it.
 *
 * Both are the same names with the same bytes, so no other file knows which it is.
 */

import { makeCell, readSafetensors } from "./engine/index.js";

/**
 * @typedef {object} Entry what the catalogue says of a model
 * @property {string} name
 * @property {string} file
 * @property {string} task "digits" or "segmentation"
 * @property {string} summary one line
 * @property {object} cell
 * @property {boolean} [preferred]
 */

/**
 * @typedef {Entry & {cell: import("./engine/cell.js").Cell, params: import("./engine/cell.js").Params}} Model
 */

/** @type {Record<string, string> | null} base64 by file name, of an exported page */
const embedded = (() => {
  const element = globalThis.document?.getElementById("embedded");
  return element ? JSON.parse(element.textContent ?? "") : null;
})();

/** The bytes of a file. Throws an Error if it cannot be read. @param {string} name */
export async function readFile(name) {
  if (embedded) {
    if (!(name in embedded)) throw new Error(`${name} is not in this page`);
    return Uint8Array.from(atob(embedded[name]), (letter) => letter.charCodeAt(0));
  }
  const response = await fetch(name).catch(() => {
    throw new Error("the playground's server does not answer; check that it is still running");
  });
  if (!response.ok) throw new Error(`${name} cannot be read (${response.status})`);
  return new Uint8Array(await response.arrayBuffer());
}

/** @param {string} name */
export async function readJson(name) {
  return JSON.parse(new TextDecoder().decode(await readFile(name)));
}

/** A file as an address for `src`. @param {string} name @param {string} type */
export async function fileAddress(name, type) {
  return embedded ? `data:${type};base64,${embedded[name]}` : name;
}

/** @type {Entry[]} */
let entries = [];
/** @type {Map<string, Model>} */
const loaded = new Map();

/** The models of a task, read once. @param {string} task @returns {Promise<Entry[]>} */
export async function models(task) {
  if (!entries.length) entries = (await readJson("catalogue.json")).models;
  return entries.filter((entry) => entry.task === task);
}

/** The model that a page starts with. @param {Entry[]} choices */
export function preferred(choices) {
  return choices.find((entry) => entry.preferred) ?? choices[0];
}

/** A model with its parameters. @param {Entry} entry @returns {Promise<Model>} */
export async function loadModel(entry) {
  let model = loaded.get(entry.name);
  if (!model) {
    const { tensors } = readSafetensors(await readFile(entry.file));
    model = { ...entry, cell: makeCell(entry.cell), params: tensors };
    loaded.set(entry.name, model);
  }
  return model;
}
