/** The playground: opens the digits at once, the photographs when asked for, and the object that tests use. */

import { byId } from "./dom.js";
import { DigitsPage } from "./digits.js";
import { setUpTheme } from "./theme.js";
import { testObject } from "./test_object.js";

/** @type {DigitsPage | undefined} */
let digits;

setUpTheme(byId("theme"), () => digits?.recolour());
addEventListener("unhandledrejection", ({ reason }) => report(reason));
addEventListener("error", ({ error }) => report(error));

try {
  digits = await DigitsPage.open();
  globalThis.refca = testObject(digits);
} catch (error) {
  report(error);
}

/** Show what went wrong. @param {unknown} error */
function report(error) {
  const problem = byId("problem");
  problem.hidden = false;
  problem.textContent = `Something went wrong: ${error instanceof Error ? error.message : error}.`;
}
