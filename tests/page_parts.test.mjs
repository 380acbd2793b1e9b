/** Parts of the playground that need no browser. REFCA_SITE is the folder of its files. */

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { test } from "node:test";

const part = (name) => import(pathToFileURL(`${process.env.REFCA_SITE}/${name}.js`));

test("time goes on at every speed, however the first frame and the press lie", async () => {
  const { Clock, SPEEDS } = await part("clock");
  for (const speed of SPEEDS) {
    for (const late of [-5, 0, 5]) {
      let next = (now) => now;
      globalThis.requestAnimationFrame = (call) => ((next = call), 1);
      let steps = 0;
      const clock = new Clock({ step: () => steps++, draw: () => undefined });
      clock.speed = speed;
      clock.play();
      const begun = performance.now() + late;
      for (let frame = 0; frame < 180; frame++) next(begun + (1000 * frame) / 60);
      clock.speed = 60;
      const before = steps;
      for (let frame = 180; frame < 240; frame++) next(begun + (1000 * frame) / 60);
      assert.ok(before >= Math.min(3 * speed, 180) - 1, `${before} steps at ${speed}/s`);
      assert.ok(steps - before >= 58 && steps - before < 90, `${steps - before} steps after a change to 60/s`);
    }
  }
});

test("the rate is that of the speed, wherever its windows begin", async () => {
  const { Clock } = await part("clock");
  const { performance } = globalThis;
  try {
    for (const speed of [1, 2, 6, 10, 60, 240]) {
      let [now, next] = [0, (at) => at];
      globalThis.performance = { now: () => now };
      globalThis.requestAnimationFrame = (call) => ((next = call), 1);
      const clock = new Clock({ step: () => undefined, draw: () => undefined });
      clock.speed = speed;
      clock.play();
      const shown = new Set();
      for (let frame = 1; frame < 600; frame++) {
        next((now = (1000 * frame) / 60));
        if (clock.rate) shown.add(clock.rate);
      }
      assert.ok(shown.size > 0);
      const allowed = speed > 60 ? 0.01 : 0.035; // a step or a frame of the half second that is measured
      for (const rate of shown) assert.ok(Math.abs(rate / speed - 1) < allowed, `${rate} steps/s at ${speed}`);
    }
  } finally {
    globalThis.performance = performance;
  }
});

test("a link's empty numbers are its defaults, and seeds go up to 64 bits", async () => {
  const { readLink } = await part("share_link");
  assert.deepEqual(readLink("#fire=&noise=").settings, {});
  assert.deepEqual(readLink("#fire=0&noise=0.1").settings, { fire_rate: 0, noise: 0.1 });
  const most = String(2n ** 64n - 1n);
  assert.equal(readLink(`#seed=${most}`).seed, most);
  assert.equal(readLink(`#seed=${2n ** 64n}`).seed, undefined);
});

test("percentages are 0 and 100 for none and all alone", async () => {
  const { wholePercent } = await part("dom");
  assert.deepEqual([0, 1, 500, 999, 1000].map((count) => wholePercent(count, 1000)), [0, 1, 50, 99, 100]);
});

test("states that are all alike leave the colours of later ones as they are", async () => {
  const { StateColours } = await part("state_colours");
  const colours = new StateColours(4);
  colours.colours(new Float32Array(40));
  const states = Float32Array.from({ length: 40 }, (_, i) => Math.sin(3 * i));
  assert.ok(new Set(colours.colours(states)).size > 3);
});
