// Cut faces out of a picture upright and square, framed as the training faces are (pfvit.detection.alignment).

import { colourAt } from "./pixels.js";

/** Where eyes, nose and mouth corners lie in a training face, as shares of its side. */
export const POINTS = [[0.313, 0.375], [0.672, 0.375], [0.49, 0.589], [0.349, 0.734], [0.641, 0.734]];
const SMALLEST_ROLL = (6 * Math.PI) / 180;
const MODEL = mean(POINTS);

/** Scale and turn, as a complex number, that best carry POINTS onto these. */
export function fit(points) {
  const [x, y] = mean(points);
  let [real, imaginary, size] = [0, 0, 0];
  POINTS.forEach(([u, v], n) => {
    const [a, b, c, d] = [u - MODEL[0], v - MODEL[1], points[n][0] - x, points[n][1] - y];
    real += a * c + b * d;
    imaginary += a * d - b * c;
    size += a * a + b * b;
  });
  return [real / size, imaginary / size];
}

/** The square to cut out for a face with these points: centre, side and roll. */
export function frame(points) {
  const [real, imaginary] = fit(points);
  const [x, y] = mean(points);
  const [u, v] = [0.5 - MODEL[0], 0.5 - MODEL[1]];
  const roll = Math.atan2(imaginary, real);
  return {
    x: x + real * u - imaginary * v,
    y: y + real * v + imaginary * u,
    side: Math.hypot(real, imaginary),
    roll: Math.abs(roll) > SMALLEST_ROLL ? roll : 0,
  };
}

/** Cut the square out in the picture's own resolution; beyond the picture its border goes on. */
export function cut(picture, { x, y, side: wanted, roll }) {
  const side = Math.max(1, Math.round(wanted));
  const data = new Uint8ClampedArray(side * side * 4).fill(255);
  const [cosine, sine] = [Math.cos(roll), Math.sin(roll)];
  const [left, top] = roll ? [x, y] : [Math.round(x - side / 2) + side / 2, Math.round(y - side / 2) + side / 2];
  const colour = [0, 0, 0];
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const [u, v] = [column + 0.5 - side / 2, row + 0.5 - side / 2];
      colourAt(picture, left + cosine * u - sine * v, top + sine * u + cosine * v, colour);
      data.set(colour, (row * side + column) * 4);
    }
  }
  return { data, width: side, height: side };
}

function mean(points) {
  return [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
}
