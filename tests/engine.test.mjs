/** The JavaScript engine on its own: frozen vectors, both kernels, files that are not whole. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as refca from "../backends/refca_js/index.js";

const vectors = (name) => JSON.parse(readFileSync(new URL(`../spec/refca_spec/vectors/${name}.json`, import.meta.url)));
const UNROLLS = ["unroll", "unroll_instance", "unroll_batch", "unroll_channel", "unroll_strided"];
const EPSILON = 2 ** -23;

/** Nested lists as a tensor. */
function tensor(lists, Type = Float32Array) {
  if (lists === null) return null;
  const shape = [];
  for (let level = lists; Array.isArray(level); level = level[0]) shape.push(level.length);
  return { shape, data: Type.from(lists.flat(Infinity)) };
}

test("Philox gives the words that Random123 publishes", () => {
  const words = new Uint32Array(4);
  for (const { counter, key, words: expected } of vectors("philox")) {
    refca.philox(words, ...[...counter, ...key].map((word) => parseInt(word, 16)));
    assert.deepEqual([...words].map((word) => word.toString(16).padStart(8, "0")), expected);
  }
});

test("streams draw the frozen masks, numbers and seeds", () => {
  const frozen = vectors("streams");
  const [, H, W, D] = frozen.shape;
  const streams = new refca.Streams(frozen.seed, frozen.first_sample);
  streams.prepare(refca.makeCell({ image_channels: 1, state_channels: D, hidden_width: 1, labels: 1, fire_rate: frozen.fire_rate }));
  const values = new Float32Array(D);
  const compare = (expected) => {
    expected.forEach((number, c) => assert.ok(Math.abs(values[c] - number) <= 4 * EPSILON * (1 + Math.abs(number))));
  };
  frozen.fires.forEach((grid, b) =>
    grid.flat().forEach((fires, site) => {
      const [y, x] = [Math.floor(site / W), site % W];
      assert.equal(streams.fires(frozen.t, b, site), fires);
      streams.noise(frozen.t, b, site, values);
      compare(frozen.noise[b][y][x]);
      streams.resetNoise(frozen.t, b, site, values);
      compare(frozen.reset[b][y][x]);
      streams.initial(b, site, values);
      compare(frozen.initial[b][y][x]);
    }),
  );
  assert.equal(frozen.fires[0].length, H);
  for (const [i, seed] of Object.entries(frozen.fold)) assert.equal(streams.fold(BigInt(i)).seed, BigInt(seed));
});

for (const name of UNROLLS) {
  for (const kernel of ["simd", "plain"]) {
    test(`${name}: the frozen states, with the ${kernel} kernel`, () => {
      const frozen = vectors(name);
      const cell = refca.makeCell(frozen.cell);
      const params = Object.fromEntries(Object.entries(frozen.params).map(([key, lists]) => [key, tensor(lists)]));
      const [image, state] = [tensor(frozen.image), tensor(frozen.state)];
      const randomness = new refca.Recorded(tensor(frozen.fire, Uint8Array), tensor(frozen.noise), tensor(frozen.reset));
      const sums = Math.max(9 * (image.shape[3] + state.shape[3]), cell.hidden_width);
      frozen.states.forEach((lists, i) => {
        const steps = i + 1;
        const expected = tensor(lists, Float64Array);
        const got = refca.evolve(cell, params, image, state, randomness, steps, { kernel });
        assert.deepEqual(got.shape, expected.shape);
        got.data.forEach((value, j) => {
          const bound = steps * 16 * EPSILON * Math.sqrt(sums) * (1 + Math.abs(expected.data[j]));
          assert.ok(Math.abs(value - expected.data[j]) <= bound, `number ${j} after ${steps} steps: ${value}`);
        });
      });
    });
  }
}

test("both kernels give the same bits", () => {
  const file = readFileSync(new URL(`../refca/weights/digits-l2-noise.safetensors`, import.meta.url));
  const { tensors: params } = refca.readSafetensors(file);
  const cell = refca.makeCell({ image_channels: 1, state_channels: 19, hidden_width: 80, labels: 10, noise: 0.02, alive_above: 0.1 });
  const image = Float32Array.from({ length: 28 * 28 }, (_, i) => (i % 28 > 9 && i % 28 < 14 ? 0.8 : 0));
  const states = ["simd", "plain"].map((kernel) => {
    const automaton = new refca.Automaton(cell, params, { height: 28, width: 28, kernel });
    assert.equal(automaton.kernel, kernel);
    automaton.setImage(image);
    for (let t = 0; t < 20; t++) automaton.step(new refca.Streams(3), t);
    return automaton.getState();
  });
  assert.deepEqual(states[0], states[1]);
  assert.ok(states[0].some((value) => Math.abs(value) > 0.5));
});

test("a mutation keeps the states of cells that stay alive and erases the others", () => {
  const cell = refca.makeCell({ image_channels: 1, state_channels: 2, hidden_width: 1, labels: 1, alive_above: 0.1 });
  const params = Object.fromEntries(
    Object.entries(refca.paramShapes(cell)).map(([name, shape]) => [name, { shape, data: new Float32Array(shape.reduce((a, b) => a * b)) }]),
  );
  const automaton = new refca.Automaton(cell, params, { height: 1, width: 4 });
  automaton.setState([1, 2, 3, 4, 5, 6, 7, 8]);
  automaton.setImage(Float32Array.of(0.1, 0.5, 0, 0.1000001));
  automaton.mutate();
  assert.deepEqual([...automaton.getState()], [0, 0, 3, 4, 0, 0, 7, 8]);
});

test("files that are not whole are refused in one sentence", () => {
  const whole = refca.writeSafetensors({ x: { shape: [3], data: Float32Array.of(1, 2, 3) } }, { note: "yes" });
  const { tensors, metadata } = refca.readSafetensors(whole);
  assert.deepEqual([[...tensors.x.data], metadata.note], [[1, 2, 3], "yes"]);
  assert.deepEqual([...refca.readSafetensors(Buffer.from(whole)).tensors.x.data], [1, 2, 3]);
  for (const length of [0, 7, 20, whole.length - 1]) {
    assert.throws(() => refca.readSafetensors(whole.subarray(0, length)), refca.InvalidInput);
  }
  const entry = { dtype: "F32", shape: [1], data_offsets: [0, 4] };
  const wrong = [{ shape: [-1] }, { shape: null }, { data_offsets: [-4, 0] }, { data_offsets: [0] }, { dtype: "F8" }];
  for (const header of [null, [], 7, { x: null }, { x: {} }, { __metadata__: null }, { __metadata__: 7 }, ...wrong.map((part) => ({ x: { ...entry, ...part } }))]) {
    const text = new TextEncoder().encode(JSON.stringify(header));
    const file = new Uint8Array(8 + text.length + 4);
    new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
    file.set(text, 8);
    assert.throws(() => refca.readSafetensors(file), refca.InvalidInput, JSON.stringify(header));
  }
});

test("settings and parameters that fit no cell are refused by name", () => {
  const sizes = { image_channels: 1, state_channels: 2, hidden_width: 1, labels: 1 };
  assert.throws(() => refca.makeCell({ ...sizes, norm: "layer" }), /norm must be one of .*, got layer/);
  assert.throws(() => refca.makeCell({ ...sizes, colour: 1 }), /no setting "colour"/);
  assert.throws(() => refca.makeCell({ ...sizes, fire_rate: 2 }), /fire_rate must be from 0 to 1, got 2/);
  const cell = refca.makeCell(sizes);
  assert.throws(() => new refca.Automaton(cell, {}, { height: 4, width: 4 }), /perceive.weight .* is missing/);
  assert.throws(() => new refca.Streams(-1), /seed must be an integer from 0/);
});
