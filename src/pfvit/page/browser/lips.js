// Give lips that close the shade of closed lips: pfvit.inference.lip_shade, which has the reasons.

import { SIDE, enlarged, readAt, skinOf } from "./folds.js";

const CLOSED = [
  [1.03, 1.04, 1.03, 1.01, 0.97, 0.91, 0.85, 0.79, 0.76, 0.76, 0.8, 0.85, 0.9, 0.95, 0.98, 1.01, 1.03],
  [1.03, 1.03, 1.02, 0.99, 0.93, 0.85, 0.75, 0.67, 0.62, 0.64, 0.7, 0.78, 0.86, 0.93, 0.99, 1.04, 1.08],
  [1.04, 1.05, 1.04, 1.02, 0.96, 0.87, 0.76, 0.66, 0.6, 0.62, 0.68, 0.76, 0.84, 0.9, 0.96, 1.02, 1.05],
];
const RED = 0.15;
const [COVERED, BARE] = [0.85, 0.95];
const SKIN = [0.3, 0.6, 0.25, 0.75].map((share) => Math.round(share * SIDE)); // top, bottom, left, right
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
 * What to do for closing lips to be shaded too: [4, SIDE, SIDE] (`skinOf`), or null for nothing.
 *
 * `folds` is what softens folds, of the same form; the rest is as `foldLight` has it, with `height` of the lip line.
 */
export function lipLight(small, { base, split, height, light }, size, folds) {
  const parted = split[0].map((x, n) => Math.max(Math.abs(x), Math.abs(split[1][n])));
  const most = Math.max(...parted);
  if (most < LEAST_PARTED) return folds;
  const out = folds ?? skinOf();
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
      pixels.push({ n, share, shown, place: limited(high[n] / STEP + MIDDLE, 0, CLOSED[0].length - 1) });
    }
  }
  const { wanted, own, redness } = across(pixels);
  if (!wanted) return folds;
  const bare = limited((redness / rednessOfSkin(small.data) - COVERED) / (BARE - COVERED), 0, 1);
  for (const { n, share, shown, place } of pixels) {
    const usual = luminance(own.map((values) => between(values, place)));
    const strange = limited((luminance(shown) / usual - LIKE) / (UNLIKE - LIKE), 0, 1);
    shown.forEach((value, c) => {
      out[c * SIDE * SIDE + n] += value * share * bare * (between(wanted[c], place) - 1) * (1 - strange);
    });
  }
  return out;
}

/** How bright the lips are across their line, and what to multiply that with: of each colour. */
function across(pixels) {
  const weights = CLOSED[0].map(() => 0);
  const sums = CLOSED.map((values) => values.map(() => 0));
  for (const { share, shown, place } of pixels) {
    weights[Math.round(place)] += share;
    shown.forEach((value, c) => (sums[c][Math.round(place)] += share * value));
  }
  const weight = smooth(weights);
  const known = BESIDE.filter((k) => weight[k] > LEAST_WEIGHT);
  if (!known.length) return {};
  const own = sums.map((values) => smooth(values).map((sum, k) => Math.max(sum / Math.max(weight[k], LEAST_WEIGHT), DARKEST)));
  const total = (values) => known.reduce((sum, k) => sum + values[k], 0);
  const level = own.map(total);
  const redness = level[0] / level[1];
  const red = limited((redness - 1) / RED, 0, 1);
  const gray = weights.map((_, k) => luminance(CLOSED.map((values) => values[k])));
  const wanted = own.map((values, c) => {
    const closed = gray.map((value, k) => (1 - red) * value + red * CLOSED[c][k]);
    const scale = level[c] / total(closed);
    return values.map((value, k) => (weight[k] > LEAST_WEIGHT ? limited((scale * closed[k]) / value, LEAST, MOST) : 1));
  });
  return { wanted, own, redness };
}

/** The ratio of red to green in the middle of the face. */
function rednessOfSkin(data) {
  const [top, bottom, left, right] = SKIN;
  const sums = [0, 0];
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) sums.forEach((_, c) => (sums[c] += data[(y * SIDE + x) * 4 + c] + 1));
  }
  return sums[0] / sums[1];
}

function luminance(colour) {
  return colour.reduce((sum, value, c) => sum + value * LUMINANCE[c], 0);
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
