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

test("states that are all alike leave the colours of later ones as they are", async () => {
  const { StateColours } = await part("state_colours");
  const colours = new StateColours(4);
  colours.colours(new Float32Array(40));
  const states = Float32Array.from({ length: 40 }, (_, i) => Math.sin(3 * i));
  assert.ok(new Set(colours.colours(states)).size > 3);
});
