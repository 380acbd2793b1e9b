/** The playground: opens the digits at once, the photographs when asked for, and the object that tests use. */

import { models } from "./catalogue.js";
import { attempt, byId, complain } from "./dom.js";
import { DigitsPage } from "./digits.js";
import { PhotographsPage } from "./photographs.js";
import { setUpTheme } from "./theme.js";
import { testObject } from "./test_object.js";

/** @type {DigitsPage | undefined} */
let digits;
/** @type {PhotographsPage | null | undefined} undefined until asked for, null without a model */
let photographs;
/** @type {Promise<PhotographsPage | null> | undefined} */
let opening;

setUpTheme(byId("theme"), () => {
  digits?.recolour();
  photographs?.draw();
});
addEventListener("unhandledrejection", ({ reason }) => report(reason));
addEventListener("error", ({ error }) => error && report(error)); // null: of another origin, or a late resize
byId("problem-close").addEventListener("click", () => complain(""));
addEventListener("hashchange", () => location.reload()); // another link

const tabs = [byId("tab-digits"), byId("tab-photographs")];
tabs.forEach((tab, i) => {
  tab.addEventListener("click", () => show(tab.id === "tab-photographs"));
  tab.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    tabs[1 - i].focus();
    tabs[1 - i].click();
  });
});

try {
  digits = await DigitsPage.open();
  Object.assign(globalThis, { refca: testObject(digits, () => photographs) });
  byId("tab-photographs").hidden = !(await models("segmentation")).length;
} catch (error) {
  report(error);
}

/** Show the digits or the photographs; the other one's time stops. @param {boolean} wanted whether photographs */
async function show(wanted) {
  if (wanted === byId("digits").hidden) return;
  tabs.forEach((tab, i) => {
    tab.setAttribute("aria-selected", String(wanted === (i === 1)));
    tab.tabIndex = wanted === (i === 1) ? 0 : -1;
  });
  byId("digits").hidden = wanted;
  byId("photographs").hidden = !wanted;
  if (!wanted) {
    photographs?.leave();
    digits?.comeBack();
    return;
  }
  digits?.leave();
  if (photographs === undefined) {
    opening ??= PhotographsPage.open();
    await attempt(async () => {
      photographs = await opening;
    }, () => {
      opening = undefined;
      show(false);
    });
  }
  if (!byId("photographs").hidden) photographs?.comeBack(); // the visitor may have left while it was opening
}

/** Show what went wrong. @param {unknown} error */
function report(error) {
  complain(`Something went wrong: ${error instanceof Error ? error.message : error}.`);
}
