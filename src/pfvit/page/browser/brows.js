// Ease brows that frown or are raised: pfvit.inference.brows, which has the reasons.

import { SIDE, enlarged, readAt, skinOf, withoutLines } from "./folds.js";

const [FROWNS, RAISES] = [["anger"], ["surprise", "fear"]];
const FURROWS = ["anger", "sadness", "disgust", "fear"];
const [LEAST, FULL, SURE, MOST] = [0.05, 0.3, 0.7, 1.6];
const PLACES = [0, 0.09, 0.17, 0.27, 0.36];
const LOWERED = [0.0163, 0.0255, 0.0214, 0.0102, 0];
const RAISED = [0.0153, 0.023, 0.0204, 0.0112, 0];
const [TOGETHER, INNER, AROUND] = [0.0025, 0.07, 0.05];
const [BROWS, UPWARD, DOWNWARD] = [0.27, 0.075, 0.055];
const [BROAD, WIDE, HIGH] = [6, 0.065, 0.075];
const BOTTOM = Math.round(0.475 * SIDE);

/** By which share of the mean brows frown, and by which they are raised, given the probability of each name. */
export function frownAndRaise(shares) {
  return [FROWNS, RAISES].map((names, raised) => {
    const all = sumOf(names, shares);
    const more = raised ? 0 : Math.min(Math.max(0, all - FULL) / (SURE - FULL), 1);
    return Math.min(Math.max(0, all - LEAST) / (FULL - LEAST), 1) + (MOST - 1) * more;
  });
}

/** Which share of the furrows between the brows is softened. */
export function furrowed(shares) {
  return Math.min(Math.max(0, sumOf(FURROWS, shares) - LEAST) / (FULL - LEAST), 1);
}

function sumOf(names, shares) {
  return names.reduce((sum, name) => sum + shares[name], 0);
}

/** Move brows back too, in the maps [2, size, size] of where pixels are read from, in halves of the side. */
export function easeBrows(maps, size, [frown, raised]) {
  if (!frown && !raised) return;
  for (let n = 0; n < size * size; n++) {
    const [x, y] = [((n % size) + 0.5) / size - 0.5, (Math.floor(n / size) + 0.5) / size - BROWS];
    const out = Math.abs(x);
    const near = Math.exp(-((y / (y < 0 ? UPWARD : DOWNWARD)) ** 2));
    const inner = Math.exp(-(((out - INNER) / AROUND) ** 2) - (y / AROUND) ** 2);
    maps[n] -= 2 * frown * Math.sign(x) * TOGETHER * inner;
    maps[size * size + n] += 2 * near * (frown * between(LOWERED, out) - raised * between(RAISED, out));
  }
}

function between(heights, out) {
  const after = PLACES.findIndex((place) => place > out);
  if (after < 0) return heights[heights.length - 1];
  const part = (out - PLACES[after - 1]) / (PLACES[after] - PLACES[after - 1]);
  return heights[after - 1] + part * (heights[after] - heights[after - 1]);
}

/** What to do for this share of furrows to soften: [4, SIDE, SIDE] (`skinOf`), or null for nothing. */
export function furrowLight(small, { base, light }, size, share) {
  if (share <= 0) return null;
  const [across, down] = base.map((plane) => enlarged(plane, size));
  const shown = light.map((plane, channel) =>
    enlarged(plane, size).map((value, n) => {
      const [x, y] = [(n % SIDE) + across[n] * SIDE, Math.floor(n / SIDE) + down[n] * SIDE];
      return value + readAt(small.data, channel, x, y) / 255;
    }),
  );
  const taken = new Float32Array(SIDE * SIDE).fill(share);
  const where = taken.map((_, n) => {
    const [x, y] = [((n % SIDE) + 0.5) / SIDE - 0.5, (Math.floor(n / SIDE) + 0.5) / SIDE - BROWS];
    return n < BOTTOM * SIDE ? Math.exp(-((x / WIDE) ** 4) - (y / HIGH) ** 4) : 0;
  });
  return withoutLines(skinOf(), shown, taken, where, BROAD);
}
