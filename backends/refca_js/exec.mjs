#!/usr/bin/env node
/**
 * The engine as another process: answers safetensors messages from standard input on standard output (`spec/exec.md`).
 *
 *     python -m pytest --pyargs refca_spec --refca-backend exec:backends/refca_js/exec.mjs
 */

import { readSync, writeSync } from "node:fs";

import { evolve, InvalidInput, makeCell, readSafetensors, Recorded, Streams, writeSafetensors } from "./index.js";

const STANDARD_INPUT = 0;
const STANDARD_OUTPUT = 1;
const DESCRIPTION = { name: "refca-js", operations: ["describe", "evolve"], dtypes: ["float32"] };

for (let request = readMessage(); request; request = readMessage()) writeMessage(answer(request));

/** The answer to a request: arrays, or one sentence on what is wrong with it. @param {Uint8Array} request */
function answer(request) {
  try {
    const { tensors, metadata } = readSafetensors(request);
    const { operation, ...settings } = JSON.parse(metadata.refca ?? "{}");
    if (operation === "describe") return writeSafetensors({}, { refca: JSON.stringify(DESCRIPTION) });
    if (operation !== "evolve") {
      throw new InvalidInput(`operation must be one of ${DESCRIPTION.operations.join(", ")}, got ${operation}`);
    }
    return writeSafetensors({ state: answerEvolve(tensors, settings) }, { refca: "{}" });
  } catch (error) {
    const { name, message } = /** @type {Error} */ (error);
    return writeSafetensors({}, { refca: JSON.stringify({ error: { kind: name, message } }) });
  }
}

/**
 * @param {Record<string, import("./safetensors.js").AnyTensor>} tensors
 * @param {{cell: object, steps: number, first_step?: number, seed?: string, first_sample?: number}} settings
 */
function answerEvolve(tensors, { cell: given, steps, first_step: firstStep = 0, seed, first_sample: firstSample }) {
  const cell = makeCell(given);
  /** @type {Record<string, import("./cell.js").Tensor>} */
  const params = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    const fire = name === "randomness/fire";
    if (tensor.dtype !== (fire ? "BOOL" : "F32")) {
      throw new InvalidInput(`${name} must be ${fire ? "BOOL" : "F32"}, got ${tensor.dtype}`);
    }
    if (name.startsWith("params/")) params[name.slice("params/".length)] = tensor;
  }
  for (const name of ["image", "state"]) if (!tensors[name]) throw new InvalidInput(`the request has no ${name}`);
  const { "randomness/fire": fire, "randomness/noise": noise, "randomness/reset": reset } = tensors;
  const randomness = fire ? new Recorded(fire, noise, reset) : new Streams(seed ?? "missing", firstSample);
  return evolve(cell, params, tensors.image, tensors.state, randomness, steps, { firstStep });
}

/** The next message, without the 8 bytes of its length; null at the end of the input. */
function readMessage() {
  const length = readBytes(8);
  if (!length) return null;
  return readBytes(Number(new DataView(length.buffer).getBigUint64(0, true)));
}

/** @param {number} count */
function readBytes(count) {
  const bytes = new Uint8Array(count);
  for (let done = 0; done < count; ) {
    const got = readSync(STANDARD_INPUT, bytes, done, count - done, null);
    if (got === 0) return null;
    done += got;
  }
  return bytes;
}

/** @param {Uint8Array} message */
function writeMessage(message) {
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(message.length), true);
  for (const bytes of [length, message]) {
    for (let done = 0; done < bytes.length; ) done += writeSync(STANDARD_OUTPUT, bytes, done);
  }
}
