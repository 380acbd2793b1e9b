/** Write the page's states for given images, models and numbers of steps, to be compared with the reference. */

import { readFileSync, writeFileSync } from "node:fs";

import { launch, open } from "./support.mjs";

const [address, requests, answers] = process.argv.slice(2);
const browser = await launch();
const { page, close } = await open(browser, address);
const results = [];
for (const { model, seed, image, side, steps } of JSON.parse(readFileSync(requests, "utf8"))) {
  results.push(
    await page.evaluate(
      async ([name, number, pixels, size, count]) => {
        const { refca } = globalThis;
        await refca.load(name);
        refca.page.world.seed = number;
        refca.setImage(pixels, size, size);
        refca.step(count);
        return { state: refca.state(), labels: refca.labels(), agreement: refca.agreement() };
      },
      [model, seed, image, side, steps],
    ),
  );
}
writeFileSync(answers, JSON.stringify(results));
await close();
await browser.close();
