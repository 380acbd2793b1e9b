/** `globalThis.refca`: the digits' automaton for tests and for the browser's console. */

import { loadModel, models } from "./catalogue.js";
import { agreed } from "./digits_world.js";

/**
 * @param {import("./digits.js").DigitsPage} page
 * @param {() => import("./photographs.js").PhotographsPage | null | undefined} photographs
 */
export function testObject(page, photographs) {
  return {
    page,
    /** Use a model by name, from zero states. @param {string} name */
    async load(name) {
      const entry = (await models("digits")).find((each) => each.name === name);
      if (!entry) throw new Error(`no digits model is called ${name}`);
      page.use(await loadModel(entry));
    },
    /** Show an image of numbers from 0 to 1, from zero states at step 0. @param {number[]} array @param {number} height @param {number} width */
    setImage(array, height, width) {
      if (height !== width || array.length !== height * width) throw new Error("the board is square");
      page.play(false);
      if (height !== page.world.size) page.resize(height);
      page.world.restart();
      page.world.setImage(Uint8Array.from(array, (value) => Math.round(255 * value)), { restart: true });
      page.draw();
    },
    /** Make n steps. @param {number} n */
    step(n = 1) {
      page.play(false);
      for (let i = 0; i < n; i++) page.step();
      page.draw();
    },
    /** The states, H*W*D numbers. */
    state: () => Array.from(page.world.automaton.getState()),
    /** The label of each cell, 255 for none. */
    labels: () => Array.from(page.world.labels),
    /** Whether all living cells name one label. */
    agreement: () => agreed(page.world.moment()),
    photographs,
  };
}
