// Soften the folds of a smile where its skin is stretched again: pfvit.inference.smile_folds, which has the reasons.

import { cubic } from "./pixels.js";

export const SIDE = 112;
const [POWER, LEAST, LEAST_TAKEN] = [4, 0.3, 0.01];
const [FINE, BROAD] = [0.7, 4]; // pixels of SIDE
const [BESIDE, BEFORE, AFTER] = [3, 1, 1.5]; // places of the maps
const [PARTED, EYES, BELOW] = [0.01, 0.45, 0.55];
const CHANNELS = [0, 1, 2];

/**
 * What to add to the pixels, from 0 to 1, for folds to soften too: [3, SIDE, SIDE], or null for nothing.
 *
 * `small` is the crop at SIDE; flows (two planes each) and light (three) are [size, size] in shares of the side;
 * `furrows` is what softens furrows, of the same form.
 */
export function foldLight(small, { base, split, light }, size, furrows) {
  const taken = takenShares(base, split, size);
  if (Math.max(...taken) < LEAST_TAKEN) return furrows;
  const share = enlarged(taken, size).map((value) => Math.min(Math.max(value, 0), 1));
  const [across, down] = base.map((plane) => enlarged(plane, size));
  const out = furrows ?? new Float32Array(3 * SIDE * SIDE);
  for (const channel of CHANNELS) {
    const shown = enlarged(light[channel], size).map((value, n) => {
      const [x, y] = [(n % SIDE) + across[n] * SIDE, Math.floor(n / SIDE) + down[n] * SIDE];
      return value + readAt(small.data, channel, x, y) / 255 + out[channel * SIDE * SIDE + n];
    });
    const [fine, broad] = [blurred(shown, SIDE, FINE), blurred(shown, SIDE, BROAD)];
    for (let n = 0; n < SIDE * SIDE; n++) out[channel * SIDE * SIDE + n] -= share[n] * (fine[n] - broad[n]);
  }
  return out;
}

/** Which share of a fold's contrast is taken away. */
function takenShares([right, down], [splitRight, splitDown], size) {
  const area = right.map((_, n) => {
    const [xx, yx] = gradient(right, n, size);
    const [xy, yy] = gradient(down, n, size);
    return (1 + xx) * (1 + yy) - xy * yx;
  });
  const least = leastBeside(leastBeside(blurred(area, size, BEFORE), size, 1), size, size);
  return blurred(least, size, AFTER).map((value, n) => {
    const kept = Math.min(Math.max(value, LEAST), 1) ** POWER;
    const below = Math.min(Math.max(((Math.floor(n / size) + 0.5) / size - EYES) / (BELOW - EYES), 0), 1);
    const skin = Math.max(0, 1 - Math.max(Math.abs(splitRight[n]), Math.abs(splitDown[n])) / PARTED);
    return (1 - kept) * below * skin;
  });
}

/** How a flow in shares of the side grows from place to place: to the right and down. */
function gradient(plane, n, size) {
  const [x, y] = [n % size, Math.floor(n / size)];
  const [left, right] = [Math.max(x - 1, 0), Math.min(x + 1, size - 1)];
  const [upper, lower] = [Math.max(y - 1, 0), Math.min(y + 1, size - 1)];
  return [
    ((plane[y * size + right] - plane[y * size + left]) / (right - left)) * size,
    ((plane[lower * size + x] - plane[upper * size + x]) / (lower - upper)) * size,
  ];
}

/** The least value among neighbours along a row (step 1) or a column (step size). */
function leastBeside(plane, size, step) {
  return plane.map((_, n) => {
    const place = step === 1 ? n % size : Math.floor(n / size);
    let least = Infinity;
    for (let k = Math.max(-BESIDE, -place); k <= Math.min(BESIDE, size - 1 - place); k++) {
      least = Math.min(least, plane[n + k * step]);
    }
    return least;
  });
}

/** A plane blurred by a Gaussian; its edge is repeated. */
export function blurred(plane, side, deviation) {
  const reach = Math.ceil(4 * deviation);
  const weights = Array.from({ length: 2 * reach + 1 }, (_, k) => Math.exp(-0.5 * ((k - reach) / deviation) ** 2));
  const all = weights.reduce((sum, one) => sum + one, 0);
  const along = (from, step) =>
    from.map((_, n) => {
      const place = step === 1 ? n % side : Math.floor(n / side);
      let sum = 0;
      for (let k = -reach; k <= reach; k++) {
        const there = Math.min(Math.max(place + k, 0), side - 1);
        sum += weights[k + reach] * from[n + (there - place) * step];
      }
      return sum / all;
    });
  return along(along(plane, 1), side);
}

/** A plane of size x size at SIDE, as Pillow's BICUBIC does it. */
export function enlarged(plane, size) {
  const weights = Array.from({ length: SIDE }, (_, n) => {
    const place = ((n + 0.5) * size) / SIDE - 0.5;
    const first = Math.floor(place);
    const near = cubic(place - first).map((weight, k) => [first - 1 + k, weight]);
    const inside = near.filter(([at]) => at >= 0 && at < size);
    const all = inside.reduce((sum, [, weight]) => sum + weight, 0);
    return inside.map(([at, weight]) => [at, weight / all]);
  });
  const read = (at) => (n) => weights[n].reduce((sum, [k, weight]) => sum + weight * at(k), 0);
  const wide = new Float32Array(size * SIDE); // [size, SIDE]
  for (let y = 0; y < size; y++) for (let x = 0; x < SIDE; x++) wide[y * SIDE + x] = read((k) => plane[y * size + k])(x);
  return new Float32Array(SIDE * SIDE).map((_, n) => read((k) => wide[k * SIDE + (n % SIDE)])(Math.floor(n / SIDE)));
}

/** A colour of a picture of SIDE x SIDE at a place between its pixels, linearly. */
export function readAt(data, channel, x, y) {
  const [u, v] = [x, y].map((place) => Math.min(Math.max(place, 0), SIDE - 1.001));
  const [left, top] = [Math.floor(u), Math.floor(v)];
  const at = (column, row) => data[(row * SIDE + column) * 4 + channel];
  const above = at(left, top) * (1 - u + left) + at(left + 1, top) * (u - left);
  const below = at(left, top + 1) * (1 - u + left) + at(left + 1, top + 1) * (u - left);
  return above * (1 - v + top) + below * (v - top);
}
