/** The contestants of `speed.mjs`, in the page: refca's engine, and TensorFlow.js on its cpu and wasm backends. */

import { Automaton, makeCell, paramShapes, readSafetensors, Streams } from "/backends/refca_js/index.js";

const TENSORFLOW = ["cpu", "wasm"];
const TURN = 400; // milliseconds that a turn takes at least
const SETTINGS = { image_channels: 1, state_channels: 19, hidden_width: 80, labels: 10, alive_above: 0.1 };

tf.wasm.setWasmPaths("/benchmarks/browser/node_modules/@tensorflow/tfjs-backend-wasm/dist/");

/** @param {Uint8Array} weights of the digits cell @param {number} rounds */
globalThis.measure = async (weights, rounds) => {
  const params = readSafetensors(weights).tensors;
  const results = [];
  for (const side of [28, 96]) {
    const image = digit(side);
    const live = image.filter((ink) => ink > 0.1).length;
    await checkSameStep(params, image, side);
    const contestants = { "refca, SIMD": engine(params, image, side, "simd"), "refca, plain": engine(params, image, side, "plain") };
    for (const name of TENSORFLOW) contestants[`tfjs ${name}`] = await tensorflow(name, params, image, side, 0.02, 0.5);
    results.push(...(await race(`digits, ${side}x${side}, ${live} living cells`, contestants, rounds)));
  }
  for (const depthwise of [true, false]) {
    const contestants = { "refca, SIMD": segmentation(depthwise, "simd"), "refca, plain": segmentation(depthwise, "plain") };
    const kind = depthwise ? "depthwise" : "full 3x3";
    results.push(...(await race(`photograph, 48x48, (32, 48), ${kind}`, contestants, rounds)));
  }
  return results;
};

/** Medians of rounds in which contestants take turns. */
async function race(problem, contestants, rounds) {
  const times = Object.fromEntries(Object.keys(contestants).map((name) => [name, []]));
  for (const run of Object.values(contestants)) await run(3); // compile
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(contestants)) {
      let steps = 0;
      const start = performance.now();
      while (performance.now() - start < TURN) {
        await run(5);
        steps += 5;
      }
      times[name].push((performance.now() - start) / steps);
      await new Promise((resolve) => setTimeout(resolve));
    }
  }
  const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  const medians = Object.entries(times).map(([contestant, values]) => ({ contestant, milliseconds: median(values) }));
  const first = medians[0].milliseconds;
  return medians.map((each, i) => ({ problem, ...each, ratio: i ? each.milliseconds / first : null }));
}

/** A ring with a tail, like a 9, with the share of living cells that MNIST's digits have. */
function digit(side) {
  const image = new Float32Array(side * side);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const [u, v] = [(x + 0.5) / side - 0.5, (y + 0.5) / side - 0.37];
      const ring = Math.abs(Math.hypot(u, v) - 0.16) < 0.05;
      const tail = Math.abs(u - 0.16) < 0.05 && v > 0 && v < 0.46;
      if (ring || tail) image[y * side + x] = 1;
    }
  }
  return image;
}

function engine(params, image, side, kernel, noise = 0.02, fireRate = 0.5) {
  const cell = makeCell({ ...SETTINGS, noise, fire_rate: fireRate });
  const automaton = new Automaton(cell, params, { height: side, width: side, kernel });
  automaton.setImage(image);
  const streams = new Streams(1);
  let t = 0;
  const run = async (steps) => {
    for (let i = 0; i < steps; i++) automaton.step(streams, t++);
  };
  run.state = () => automaton.getState();
  return run;
}

function segmentation(depthwise, kernel) {
  const cell = makeCell({
    image_channels: 3, state_channels: 32, hidden_width: 48, labels: 3, hidden_layers: 2, biases: false, depthwise,
    norm: "instance", resettable: true, linear_readout: true, normal_start: true,
  });
  const random = (n, scale) => Float32Array.from({ length: n }, () => scale * (Math.random() - 0.5));
  const params = Object.fromEntries(
    Object.entries(paramShapes(cell)).map(([name, shape]) => [name, { shape, data: random(shape.reduce((a, b) => a * b), 0.3) }]),
  );
  const automaton = new Automaton(cell, params, { height: 48, width: 48, kernel });
  const streams = new Streams(1);
  automaton.setImage(random(48 * 48 * 3, 2));
  automaton.initialise(streams);
  let t = 0;
  return async (steps) => {
    for (let i = 0; i < steps; i++) automaton.step(streams, t++);
  };
}

/** The article's step in TensorFlow.js: all cells, then noise, then the mask of firing and life. */
async function tensorflow(backend, params, image, side, noise, fireRate) {
  await tf.setBackend(backend);
  const tensor = (name, shape) => tf.keep(tf.tensor(params[name].data, shape ?? params[name].shape));
  const layers = [
    [tensor("perceive.weight"), tensor("perceive.bias")],
    [tensor("hidden.0.weight", [1, 1, 80, 80]), tensor("hidden.0.bias")],
    [tensor("update.weight", [1, 1, 80, 19]), tensor("update.bias")],
  ];
  const picture = tf.keep(tf.tensor(image, [1, side, side, 1]));
  let state = tf.keep(tf.zeros([1, side, side, 19]));
  const step = () =>
    tf.tidy(() => {
      const convolve = (x, [weight, bias]) => tf.add(tf.conv2d(x, weight, 1, "same"), bias);
      const seen = tf.concat([picture, state], 3);
      const hidden = tf.relu(convolve(tf.relu(convolve(seen, layers[0])), layers[1]));
      let update = convolve(hidden, layers[2]);
      if (noise) update = tf.add(update, tf.randomNormal(update.shape, 0, noise));
      const fires = tf.lessEqual(tf.randomUniform([1, side, side, 1]), fireRate);
      const mask = tf.cast(tf.logicalAnd(fires, tf.greater(picture, 0.1)), "float32");
      return tf.add(state, tf.mul(update, mask));
    });
  const run = async (steps) => {
    if (tf.getBackend() !== backend) await tf.setBackend(backend);
    for (let i = 0; i < steps; i++) {
      const next = step();
      state.dispose();
      state = tf.keep(next);
    }
    state.dataSync(); // nothing is left to be computed later
  };
  run.state = () => state.dataSync();
  return run;
}

/** Throw unless one step without chance ends in the same states for all contestants. */
async function checkSameStep(params, image, side) {
  const ours = engine(params, image, side, "simd", 0, 1);
  await ours(2);
  for (const backend of TENSORFLOW) {
    const theirs = await tensorflow(backend, params, image, side, 0, 1);
    await theirs(2);
    const expected = theirs.state();
    ours.state().forEach((value, i) => {
      if (!(Math.abs(value - expected[i]) < 1e-4)) throw new Error(`tfjs ${backend} has ${expected[i]}, refca ${value}`);
    });
  }
}
