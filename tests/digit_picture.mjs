/** The page's preparation of each picture in a safetensors file, as JSON by name. `node digit_picture.mjs PICTURES` */

import { readFileSync } from "node:fs";

import { readSafetensors } from "../backends/refca_js/index.js";
import { digit } from "../refca/playground_page/site/digit_picture.js";

const prepared = ({ shape, data }) => {
  try {
    const { pixels, done } = digit({ height: shape[0], width: shape[1], data });
    return { pixels: Array.from(pixels), done };
  } catch (error) {
    return { message: error.message };
  }
};
const { tensors } = readSafetensors(readFileSync(process.argv[2]));
console.log(JSON.stringify(Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, prepared(tensor)]))));
