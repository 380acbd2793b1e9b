/** The digits page, used as a person would. REFCA_URL is the page's address, REFCA_OUT a folder for what it saves. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";

import * as support from "./support.mjs";

const { boardPoints, drawByMouse, drawByTouch, launch, open, settle, STROKES } = support;
const URL = process.env.REFCA_URL;
const OUT = process.env.REFCA_OUT;
let browser;

before(async () => (browser = await launch()));
after(() => browser.close());

test("cells agree on the first digit without a click", async () => {
  const { page, close } = await open(browser, URL);
  await support.waitForAgreement(page, 2);
  assert.match(await page.locator("#verdict").innerText(), /2\s*All \d+ cells agree/);
  assert.match(await page.locator("#announcement").innerText(), /All \d+ cells say 2\./);
  await close();
});

test("digits drawn with the mouse are named", async () => {
  const { page, close } = await open(browser, URL);
  for (const [digit, points] of Object.entries(STROKES)) {
    await page.click("#clear");
    assert.match(await page.locator("#verdict").innerText(), /Draw a digit/);
    await drawByMouse(page, points);
    await settle(page, Number(digit), 0.9);
  }
  await close();
});

test("a digit drawn with a finger on a phone is named", async () => {
  const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 3 };
  const { page, context, close } = await open(browser, URL, phone);
  await drawByTouch(page, context, STROKES[7]);
  await settle(page, 7, 0.9);
  await close();
});

test("one finger draws, and another, or a palm, does not", async () => {
  const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
  const { page, context, close } = await open(browser, URL, phone);
  const session = await context.newCDPSession(page);
  const send = (type, ...touchPoints) => session.send("Input.dispatchTouchEvent", { type, touchPoints });
  await page.click("#play");
  await page.click("#clear");
  const [first, down, palm, aside] = await boardPoints(page, [[0.2, 0.2], [0.2, 0.8], [0.8, 0.3], [0.8, 0.5]]);
  await send("touchStart", { ...first, id: 1 });
  await send("touchStart", { ...first, id: 1 }, { ...palm, id: 2 });
  await send("touchMove", { ...first, id: 1 }, { ...aside, id: 2 });
  await send("touchMove", { ...down, id: 1 }, { ...aside, id: 2 });
  await send("touchEnd");
  const inked = await inkedColumns(page);
  assert.ok(inked.length && Math.max(...inked) < 0.3, `ink in the columns ${inked}`);
  assert.ok(await page.evaluate(() => globalThis.refca.page.world.moment().live) > 20, "the first finger went on");
  await close();
});

test("the other end of a pen erases, and the middle button does nothing", async () => {
  const { page, close } = await open(browser, URL);
  await page.click("#play");
  const [start] = await boardPoints(page, [[0.5, 0.5]]);
  const live = () => page.evaluate(() => globalThis.refca.page.world.moment().live);
  const press = (button, buttons) =>
    page.evaluate(
      ([x, y, button, buttons]) => {
        const canvas = document.querySelector("#board");
        canvas.setPointerCapture = () => undefined; // there is no such pointer
        const at = { clientX: x, clientY: y, button, buttons, pointerId: 7, bubbles: true };
        canvas.dispatchEvent(new PointerEvent("pointerdown", at));
        for (const dx of [-90, 90]) canvas.dispatchEvent(new PointerEvent("pointermove", { ...at, clientX: x + dx }));
        canvas.dispatchEvent(new PointerEvent("pointerup", { ...at, buttons: 0 }));
      },
      [start.x, start.y, button, buttons],
    );
  const before = await live();
  await press(1, 4);
  assert.equal(await live(), before);
  await press(5, 32);
  assert.ok((await live()) < before);
  await close();
});

test("the first stroke takes the place of the example, and undo brings that back", async () => {
  const { page, close } = await open(browser, URL);
  await settle(page, 2);
  await drawByMouse(page, STROKES[7]);
  await settle(page, 7, 0.9);
  await page.keyboard.press("Control+z");
  await settle(page, 2);
  await page.keyboard.press("1");
  const before = await page.evaluate(() => globalThis.refca.page.world.moment().live);
  await drawByMouse(page, [[0.3, 0.25], [0.5, 0.25]]);
  assert.ok((await page.evaluate(() => globalThis.refca.page.world.moment().live)) > before, "later strokes add");
  await close();
});

test("time goes on after a look at the photographs, and the page says when it is paused", async () => {
  const { page, close } = await open(browser, URL);
  await settle(page, 2);
  await page.click("#play");
  await page.click("#tab-photographs");
  await page.click("#tab-digits");
  await page.getByRole("button", { name: "Pause" }).waitFor();
  await page.click("#play");
  await page.click("#clear");
  await drawByMouse(page, STROKES[7]);
  await page.waitForFunction(() => /press Play/.test(document.querySelector("#verdict").innerText));
  await page.click("#tab-photographs");
  await page.click("#tab-digits");
  await page.getByRole("button", { name: "Play" }).waitFor();
  await close();
});

test("the open tab pressed again changes nothing, and photographs left while they load stay still", async () => {
  const { page, close } = await open(browser, URL);
  await page.click("#tab-digits");
  await page.getByRole("button", { name: "Pause" }).waitFor();
  await page.evaluate(() => {
    for (const id of ["tab-photographs", "tab-photographs", "tab-digits"]) document.getElementById(id).click();
  });
  await page.waitForFunction(() => globalThis.refca.photographs());
  await page.waitForTimeout(300);
  assert.deepEqual(
    await page.evaluate(() => [globalThis.refca.page.clock.playing, globalThis.refca.photographs().clock.playing]),
    [true, false],
  );
  await page.click("#tab-photographs");
  await page.waitForFunction(() => Number(document.querySelector("#photo-time").innerText) > 3);
  await close();
});

test("an empty board says so everywhere", async () => {
  const { page, close } = await open(browser, URL);
  await settle(page, 2);
  const [index, size] = await page.evaluate(() => {
    const { world } = globalThis.refca.page;
    return [world.automaton.live.indexOf(1), world.size];
  });
  const [place] = await boardPoints(page, [[((index % size) + 0.5) / size, (Math.floor(index / size) + 0.5) / size]]);
  await page.mouse.move(place.x, place.y);
  await page.waitForSelector("#explained:not([hidden])");
  await page.click("#clear");
  assert.equal(await page.locator("#announcement").innerText(), "");
  assert.ok(await page.locator("#explained-intro").isVisible());
  assert.ok(await page.getByRole("button", { name: "Cut in two" }).isDisabled());
  await close();
});

test("a press on a digit, or its key, mutates the pattern under the cells", async () => {
  const { page, close } = await open(browser, URL);
  await settle(page, 2);
  await page.getByRole("button", { name: "Load a 6" }).click();
  await settle(page, 6, 0.9);
  await page.keyboard.press("1");
  await settle(page, 1, 0.9);
  await page.keyboard.press("Control+z");
  await settle(page, 6, 0.9);
  await close();
});

test("cells of both digits keep their states, unless the visitor wants them to start anew", async () => {
  const { page, close } = await open(browser, URL);
  const kept = async (mutation) => {
    await page.evaluate(() => globalThis.refca.step(30));
    await page.evaluate(() => (document.querySelector("#more").open = true));
    await page.locator(`[name=mutation][value=${mutation}]`).check();
    await page.getByRole("button", { name: "Load a 6" }).click();
    return page.evaluate(() => globalThis.refca.state().filter((value) => value !== 0).length);
  };
  assert.ok((await kept("carry")) > 19 * 10);
  assert.equal(await kept("restart"), 0);
  await close();
});

test("the eraser kills cells, a wound makes them forget, and they recover", async () => {
  const { page, close } = await open(browser, URL);
  await settle(page, 2);
  const live = () => page.evaluate(() => globalThis.refca.page.world.moment().live);
  const before = await live();
  await page.click("[data-tool=eraser]");
  await drawByMouse(page, [[0.3, 0.7], [0.4, 0.7]]);
  assert.ok((await live()) < before);
  await page.keyboard.press("Control+z");
  assert.equal(await live(), before);

  await page.getByRole("button", { name: "Wound half" }).click();
  assert.equal(await page.evaluate(() => globalThis.refca.agreement()), false);
  assert.equal(await live(), before);
  await settle(page, 2);
  await page.waitForFunction(() => /agreed again after \d+ steps?/.test(document.querySelector("#finding").innerText));
  await close();
});

test("a digit that is cut in two is two colonies", async () => {
  const { page, close } = await open(browser, URL);
  await page.click("#play");
  await page.getByRole("button", { name: "Cut in two" }).click();
  assert.match(await page.locator("#finding").innerText(), /There are 2 separate pieces/);
  await close();
});

test("every experiment changes the cells and says what to watch", async () => {
  const { page, close } = await open(browser, URL);
  await page.evaluate(() => globalThis.refca.step(20));
  const buttons = page.locator("#experiments button");
  for (let i = 0; i < (await buttons.count()); i++) {
    const before = await page.evaluate(() => [globalThis.refca.state().join(), globalThis.refca.page.world.image.join()].join());
    await buttons.nth(i).click();
    const after = await page.evaluate(() => [globalThis.refca.state().join(), globalThis.refca.page.world.image.join()].join());
    assert.notEqual(after, before, await buttons.nth(i).innerText());
    assert.match(await page.locator("#finding").innerText(), /[.?] \d+ steps? without agreement so far/);
  }
  await close();
});

test("time can be stopped, stepped, reset, and set to other speeds", async () => {
  const { page, close } = await open(browser, URL);
  const time = () => page.locator("#time").innerText().then(Number);
  await page.click("#play");
  const stopped = await time();
  await page.waitForTimeout(300);
  assert.equal(await time(), stopped);
  await page.click("#step");
  await page.keyboard.press(".");
  assert.equal(await time(), stopped + 2);
  await page.click("#restart");
  assert.equal(await time(), 0);
  await page.locator("#speed").fill("0");
  assert.match(await page.locator("#speed-name").innerText(), /1\/60x, 1 step\/s/);
  await page.click("#play");
  await page.waitForTimeout(1500);
  assert.ok((await time()) <= 3);
  await page.locator("#speed").fill("9");
  await page.waitForTimeout(1500);
  assert.ok((await time()) > 60);
  assert.match(await page.locator("#rate").innerText(), /\d+\/s/);
  await page.click("#play");
  const paused = await time();
  await page.click("#play");
  await page.waitForFunction((before) => Number(document.querySelector("#time").innerText) > before + 60, paused);
  await close();
});

test("held keys leave what was drawn to be undone, and Shift does not undo", async () => {
  const { page, close } = await open(browser, URL);
  await page.click("#play");
  const live = () => page.evaluate(() => globalThis.refca.page.world.moment().live);
  const before = await live();
  for (let i = 0; i < 40; i++) await page.keyboard.down("Delete");
  await page.keyboard.up("Delete");
  assert.equal(await live(), 0);
  await page.keyboard.press("Control+Shift+Z");
  assert.equal(await live(), 0);
  await page.keyboard.press("Control+z");
  assert.equal(await live(), before);
  await close();
});

test("undo after a change of the model brings the drawing back, and no states of other cells", async () => {
  const { page, close } = await open(browser, URL);
  await settle(page, 2);
  await page.keyboard.press("7");
  const shown = await page.locator("#model").inputValue();
  const name = (await page.locator("#model option").allInnerTexts()).find((each) => each !== shown);
  await page.locator("#model").selectOption(name);
  await page.waitForFunction((wanted) => globalThis.refca.page.world.model.name === wanted, name);
  await page.focus("#board");
  await page.keyboard.press("Control+z");
  assert.ok(await page.evaluate(() => globalThis.refca.state().every((value) => value === 0)));
  await settle(page, 2);
  await close();
});

test("a model keeps its own fire rate and noise, and its initial states", async () => {
  const { page, close } = await open(browser, URL);
  const found = await page.evaluate(() => {
    const { page, state } = globalThis.refca;
    page.play(false);
    const { model } = page.world;
    page.use({ ...model, cell: { ...model.cell, fire_rate: 0.0425, noise: 0.5, normal_start: true } });
    page.world.setImage(page.world.image, { restart: true });
    return [page.world.settings, state().some((value) => value !== 0), document.querySelector("#noise-value").textContent];
  });
  assert.deepEqual(found, [{ fire_rate: 0.0425, noise: 0.5 }, true, "0.500"]);
  await close();
});

test("the digit's mark has the colours that were chosen", async () => {
  const { page, close } = await open(browser, URL);
  await support.waitForAgreement(page, 2);
  await page.click("#play");
  await page.locator("#more summary").click();
  const colour = () => page.evaluate(() => document.querySelector("#verdict").style.getPropertyValue("--label"));
  const before = await colour();
  await page.locator("#palette").selectOption({ index: 1 });
  assert.notEqual(await colour(), before);
  await close();
});

test("a cell under the pointer is explained", async () => {
  const { page, close } = await open(browser, URL);
  await settle(page, 2);
  const [x, y] = await page.evaluate(() => {
    const { world } = globalThis.refca.page;
    const index = world.automaton.live.indexOf(1);
    return [((index % world.size) + 0.5) / world.size, (Math.floor(index / world.size) + 0.5) / world.size];
  });
  const [place] = await boardPoints(page, [[x, y]]);
  await page.mouse.move(place.x, place.y);
  await page.waitForSelector("#explained:not([hidden])");
  const text = await page.locator("#explained").innerText();
  assert.match(text, /180 numbers[\s\S]*80 \+ 80 hidden values[\s\S]*19 changes[\s\S]*50 %[\s\S]*2/);
  await close();
});

test("the board can be drawn on with the keyboard alone", async () => {
  const { page, close } = await open(browser, URL);
  await page.keyboard.press("Delete");
  await page.focus("#board");
  for (const key of [...Array(8).fill("ArrowUp"), ...Array(16).fill(["Enter", "ArrowDown"]).flat()]) await page.keyboard.press(key);
  await settle(page, 1, 0.9);
  await close();
});

test("the keyboard's cursor is on the board after that has shrunk", async () => {
  const { page, close } = await open(browser, URL);
  await page.locator("#size").selectOption("96");
  await page.focus("#board");
  for (let i = 0; i < 30; i++) await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Control+z");
  await page.keyboard.press("ArrowUp");
  const [cursor, size] = await page.evaluate(() => [globalThis.refca.page.cursor, globalThis.refca.page.world.size]);
  assert.ok(size === 28 && cursor < 28 * 28, `${cursor} on ${size}`);
  await close();
});

test("a link brings the same drawing, model and seed, and so the same states", async () => {
  const { page, close } = await open(browser, URL);
  await page.locator("#model").selectOption({ index: 1 });
  await page.locator("#more summary").click();
  await page.locator("#seed").fill("12345678901");
  await page.locator("#seed").blur();
  await page.locator("#noise").fill("0.007");
  await page.locator("#fire-rate").fill("0.62");
  await page.click("#clear");
  await drawByMouse(page, STROKES[3]);
  await page.click("#copy-link");
  const link = page.url();
  assert.match(link, /#model=/);
  const states = (target) =>
    target.evaluate(() => {
      globalThis.refca.page.play(false);
      globalThis.refca.page.world.restart();
      globalThis.refca.step(20);
      return globalThis.refca.state();
    });
  const expected = await states(page);
  const { page: other, close: closeOther } = await open(browser, link);
  assert.deepEqual(await states(other), expected);
  assert.ok(expected.some((value) => value !== 0));
  await closeOther();
  await close();
});

test("a link with nonsense in it opens the page as any other, and the page says what is not there", async () => {
  for (const [link, said] of [["model=none&size=7&seed=x&fire=9&noise=-1", /none, is not here/], ["drawing=%%%", /cannot be read/]]) {
    const { page, close } = await open(browser, `${URL}#${link}`);
    await support.waitForAgreement(page, 2);
    assert.match(await page.locator("#problem").innerText(), said);
    await page.getByRole("button", { name: "Close this message" }).click();
    assert.ok(await page.locator("#problem").isHidden());
    await close();
  }
});

test("another link in the address bar is followed", async () => {
  const { page, close } = await open(browser, URL);
  const name = await page.locator("#model option").last().innerText();
  await page.evaluate((wanted) => (location.hash = `model=${wanted}&size=56`), name);
  await page.waitForFunction((wanted) => globalThis.refca?.page.world.model.name === wanted, name);
  assert.equal(await page.locator("#size").inputValue(), "56");
  await close();
});

test("the space bar presses what has the focus, and else plays", async () => {
  const { page, close } = await open(browser, URL);
  await page.focus("#show-fires");
  await page.keyboard.press("Space");
  assert.ok(await page.locator("#show-fires").isChecked());
  await page.focus("#more summary");
  await page.keyboard.press("Space");
  assert.ok(await page.locator("#seed").isVisible());
  await page.getByRole("button", { name: "Pause" }).waitFor();
  await page.focus("#board");
  await page.keyboard.press("Space");
  await page.getByRole("button", { name: "Play" }).waitFor();
  await close();
});

test("without its server the page says so, keeps its model, and takes that back once it is there", async () => {
  const { page, close } = await open(browser, URL);
  const [first, ...others] = await page.locator("#model option").allInnerTexts();
  const shown = await page.locator("#model").inputValue();
  const other = others.find((name) => name !== shown) ?? first;
  await page.route("**/weights/*", (route) => route.abort());
  await page.locator("#model").selectOption(other);
  await page.waitForFunction(() => /does not answer/.test(document.querySelector("#problem").innerText));
  assert.equal(await page.locator("#model").inputValue(), shown);
  await page.unroute("**/weights/*");
  await page.locator("#model").selectOption(other);
  await page.waitForFunction(() => document.querySelector("#problem").hidden);
  await close(/ERR_FAILED|does not answer/);
});

test("of two models the one that was chosen last is shown", async () => {
  const { page, close } = await open(browser, URL);
  const shown = await page.locator("#model").inputValue();
  const [slow, quick] = (await page.locator("#model option").allInnerTexts()).filter((name) => name !== shown);
  let first = true;
  await page.route("**/weights/*", async (route) => {
    if (first) await new Promise((resolve) => setTimeout(resolve, 1000, (first = false)));
    await route.continue();
  });
  await page.locator("#model").selectOption(slow);
  await page.locator("#model").selectOption(quick);
  await page.waitForFunction((name) => globalThis.refca.page.world.model.name === name, quick);
  await page.waitForTimeout(1500);
  assert.equal(await page.evaluate(() => globalThis.refca.page.world.model.name), quick);
  await close();
});

test("on a phone what an experiment shows, and what a cell says, stands under the board", async () => {
  const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
  const { page, close } = await open(browser, URL, phone);
  await page.evaluate(() => globalThis.refca.step(20));
  const near = page.locator("#near-board");
  assert.equal(await near.innerText(), "");
  await page.getByRole("button", { name: "Wound half" }).click();
  assert.match(await near.innerText(), /without agreement so far/);
  await page.click("[data-tool=inspect]");
  await page.waitForFunction(() => /Tap a living cell/.test(document.querySelector("#near-board").innerText));
  await page.setViewportSize({ width: 1280, height: 844 });
  assert.ok(await near.isHidden());
  await close();
});

test("a file that is dropped beside the board is used too", async () => {
  const { page, close } = await open(browser, URL);
  const stopped = await page.evaluate(() => {
    const data = new DataTransfer();
    data.items.add(new File(["no picture"], "photo.heic"));
    const event = (name) => new DragEvent(name, { dataTransfer: data, bubbles: true, cancelable: true });
    const header = document.querySelector("header");
    return [event("dragover"), event("drop")].map((each) => !header.dispatchEvent(each));
  });
  assert.deepEqual(stopped, [true, true]);
  await page.waitForFunction(() => /not a picture/.test(document.querySelector("#kept").innerText));
  await close();
});

test("pictures and films are saved", async () => {
  const { page, close } = await open(browser, URL);
  const names = [];
  page.on("download", async (download) => {
    await download.saveAs(join(OUT, download.suggestedFilename()));
    names.push(download.suggestedFilename());
  });
  const saved = async (name) => {
    for (let i = 0; i < 100 && !names.includes(name); i++) await page.waitForTimeout(100);
    assert.ok(names.includes(name), name);
  };
  await page.click("#save-png");
  await saved("drawing.png");
  await saved("cells.png");
  await page.click("#record-gif");
  await page.waitForTimeout(800);
  await page.keyboard.press("6");
  await page.waitForTimeout(800);
  await page.click("#record-gif");
  await saved("cells.gif");
  await page.click("#record-webm");
  await page.waitForTimeout(800);
  await page.click("#record-webm");
  await saved("cells.webm");
  await close();
});

test("a photograph of a digit is cut out and centred", async () => {
  const { page, close } = await open(browser, URL);
  await page.locator("#import-file").setInputFiles(join(OUT, "photographed_3.png"));
  await page.waitForFunction(() => /centred by mass/.test(document.querySelector("#kept").innerText));
  await settle(page, 3, 0.9);
  await page.locator("#import-file").setInputFiles({ name: "none.png", mimeType: "image/png", buffer: Buffer.from("no") });
  await page.waitForFunction(() => /not a picture/.test(document.querySelector("#kept").innerText));
  await close();
});

test("larger boards hold several digits", async () => {
  const { page, close } = await open(browser, URL);
  await page.locator("#size").selectOption("96");
  await page.click("#clear");
  for (const digit of ["1", "6", "7"]) await page.getByRole("button", { name: `Load a ${digit}` }).click();
  await page.evaluate(() => globalThis.refca.step(100));
  const said = await page.evaluate(() => [...new Set(globalThis.refca.labels())]);
  for (const digit of [1, 6, 7]) assert.ok(said.includes(digit), `${digit} of ${said}`);
  await close();
});

test("nothing moves by itself for those who prefer so", async () => {
  const { page, close } = await open(browser, URL, { reducedMotion: "reduce" });
  await page.waitForTimeout(400);
  assert.equal(await page.locator("#time").innerText(), "0");
  await page.getByRole("button", { name: "Play" }).click();
  await support.waitForAgreement(page, 2);
  await close();
});

test("the page fits screens of all sizes", async () => {
  const { page, close } = await open(browser, URL);
  for (const width of [320, 390, 820, 1280, 1920]) {
    await page.setViewportSize({ width, height: 800 });
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${overflow} pixels too wide at ${width}`);
  }
  await close();
});

test("fingers find all that can be pressed on a phone and a tablet", async () => {
  for (const [width, height] of [[390, 844], [820, 1180]]) {
    const { page, close } = await open(browser, URL, { viewport: { width, height }, hasTouch: true, isMobile: true });
    const small = await page.evaluate(() =>
      [...document.querySelectorAll("button, select, summary, label, input[type=range]")]
        .map((element) => ({ name: element.id || element.textContent, box: element.getBoundingClientRect() }))
        .filter(({ box }) => box.width && Math.min(box.width, box.height) < 40)
        .map(({ name, box }) => `${name}: ${box.width} x ${box.height}`),
    );
    assert.deepEqual(small, []);
    await close();
  }
});

test("nothing in the way of a screen reader, in light and in dark", async () => {
  const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
  for (const colorScheme of ["light", "dark"]) {
    const { page, close } = await open(browser, URL, { colorScheme });
    await settle(page, 2);
    await page.evaluate(axe);
    const { violations } = await page.evaluate(() => globalThis.axe.run());
    assert.deepEqual(violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]), []);
    await close();
  }
});

test("another model can be chosen", async () => {
  const { page, close } = await open(browser, URL);
  const names = await page.locator("#model option").allInnerTexts();
  for (const name of names) {
    await page.locator("#model").selectOption(name);
    await page.waitForFunction((wanted) => globalThis.refca.page.world.model.name === wanted, name);
    await settle(page, 2, 0.9);
    assert.ok((await page.locator("#model-summary").innerText()).length > 20);
  }
  await close();
});

/** The columns of the board that have ink, of its width. */
function inkedColumns(page) {
  return page.evaluate(() => {
    const { image, size } = globalThis.refca.page.world;
    return [...image.keys()].filter((i) => image[i]).map((i) => (i % size) / size);
  });
}
