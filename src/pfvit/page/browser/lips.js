// Give lips that close the shade of closed lips: pfvit.inference.lip_shade, which has the reasons.

import { SIDE, enlarged, readAt } from "./folds.js";

const CLOSED = [1.04, 1.03, 1.02, 1, 0.95, 0.88, 0.78, 0.71, 0.67, 0.68, 0.74, 0.8, 0.87, 0.93, 0.99, 1.03, 1.06];
const [STEP, MIDDLE] = [0.005, 8];
const BESIDE = [1, 2, 3, 13, 14, 15];
const [LEAST, MOST] = [0.6, 1.3];
const [PARTED, PARTED_MOST, LEAST_PARTED] = [0.005, 0.25, 0.0005];
const [REACH, FADE] = [0.04, 0.01];
const [LEAST_WEIGHT, DARKEST] = [0.5, 0.01];
const [LIKE, UNLIKE] = [1.4, 1.8];
const LUMINANCE = [0.299, 0.587, 0.114];
const [TOP, LEFT, RIGHT] = [0.55, 0.15, 0.85].map((share) => Math.round(share * SIDE));

/**
 * What to add to the pixels, from 0 to 1, for closing lips to be shaded too: [3, SIDE, SIDE], or null for nothing.
 *
 * `folds` is what softens folds, of the same form; the rest is as `foldLight` has it, with `height` of the lip line.
 */
export function lipLight(small, { base, split, height, light }, size, folds) {
  const parted = split[0].map((x, n) => Math.max(Math.abs(x), Math.abs(split[1][n])));
  const most = Math.max(...parted);
  if (most < LEAST_PARTED) return folds;
  const out = folds ?? new Float32Array(3 * SIDE * SIDE);
  const wide = enlarged(parted, size);
  const [high, ...flows] = [height, ...base, ...split].map((plane) => enlarged(plane, size));
  const lights = light.map((plane) => enlarged(plane, size));
  const full = Math.max(PARTED, PARTED_MOST * most);
  const pixels = [];
  for (let row = TOP; row < SIDE; row++) {
    for (let column = LEFT; column < RIGHT; column++) {
      const n = row * SIDE + column;
      const share = limited(wide[n] / full, 0, 1) * limited((REACH - Math.abs(high[n])) / FADE, 0, 1);
      if (share === 0) continue;
      const side = high[n] > 0 ? 1 : -1;
      const [x, y] = [column, row].map((at, axis) => at + (flows[axis][n] + side * flows[2 + axis][n]) * SIDE);
      const shown = lights.map((plane, c) => readAt(small.data, c, x, y) / 255 + plane[n] + out[c * SIDE * SIDE + n]);
      const bright = shown.reduce((sum, value, c) => sum + value * LUMINANCE[c], 0);
      pixels.push({ n, share, shown, bright, place: limited(high[n] / STEP + MIDDLE, 0, CLOSED.length - 1) });
    }
  }
  const { wanted, own } = across(pixels);
  if (!wanted) return folds;
  for (const { n, share, shown, bright, place } of pixels) {
    const strange = limited((bright / between(own, place) - LIKE) / (UNLIKE - LIKE), 0, 1);
    const shade = share * (between(wanted, place) - 1) * (1 - strange);
    shown.forEach((value, c) => (out[c * SIDE * SIDE + n] += value * shade));
  }
  return out;
}

/** How bright the lips are across their line, and what to multiply that with. */
function across(pixels) {
  const [weights, sums] = [CLOSED.map(() => 0), CLOSED.map(() => 0)];
  for (const { share, bright, place } of pixels) {
    weights[Math.round(place)] += share;
    sums[Math.round(place)] += share * bright;
  }
  const weight = smooth(weights);
  const own = smooth(sums).map((sum, k) => Math.max(sum / Math.max(weight[k], LEAST_WEIGHT), DARKEST));
  const known = BESIDE.filter((k) => weight[k] > LEAST_WEIGHT);
  if (!known.length) return {};
  const total = (values) => known.reduce((sum, k) => sum + values[k], 0);
  const level = total(own) / total(CLOSED);
  const wanted = CLOSED.map((closed, k) => (weight[k] > LEAST_WEIGHT ? limited((level * closed) / own[k], LEAST, MOST) : 1));
  return { wanted, own };
}

function smooth(values) {
  return values.map((value, k) => ((values[k - 1] ?? 0) + 2 * value + (values[k + 1] ?? 0)) / 4);
}

function between(values, place) {
  const low = Math.min(Math.floor(place), values.length - 2);
  return values[low] + (values[low + 1] - values[low]) * (place - low);
}

function limited(value, least, most) {
  return Math.min(Math.max(value, least), most);
}
