// Pictures as {data, width, height}: RGBA bytes, row by row, as in ImageData. And reading between their pixels.

const WIDER = 0.1; // as in pfvit.inference.unsure
const [ENDS, SAMPLED, FAINT, CLEAR, MOST_GAIN, NOTHING] = [[0.01, 0.99], 1000, 80, 130, 8, 6];

/** The pixels of a picture file (a Blob), turned as its EXIF says. */
export async function decode(blob) {
  const bitmap = await createImageBitmap(blob, { imageOrientation: "from-image" });
  const pen = canvasOf(bitmap.width, bitmap.height).getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "#fff"; // behind what is transparent
  pen.fillRect(0, 0, bitmap.width, bitmap.height);
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  return pen.getImageData(0, 0, pen.canvas.width, pen.canvas.height);
}

/** A picture file of some pixels. */
export async function encode({ data, width, height }, type) {
  const canvas = canvasOf(width, height);
  canvas.getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
  return canvas.convertToBlob({ type, quality: 0.92 });
}

export function canvasOf(width, height) {
  return new OffscreenCanvas(width, height);
}

/** RGB bytes for a network, [1, height, width, 3]; with `sides`, filled up with gray to multiples of it. */
export function rgb({ data, width, height }, sides = 1, gray = 127) {
  const [wide, high] = [width, height].map((side) => Math.ceil(side / sides) * sides);
  const out = new Uint8Array(wide * high * 3).fill(gray);
  for (let y = 0; y < height; y++) {
    for (let x = 0, from = y * width * 4, to = y * wide * 3; x < width; x++, from += 4, to += 3) {
      out[to] = data[from];
      out[to + 1] = data[from + 1];
      out[to + 2] = data[from + 2];
    }
  }
  return { bytes: out, shape: [1, high, wide, 3] };
}

/**
 * How a dark or faint picture gets more contrast (pfvit.data.contrast): what each value becomes, and by how much
 * differences grow; null if it has enough, or none.
 */
export function contrastOf({ data, width, height }) {
  const step = Math.max(1, Math.floor(Math.sqrt(Math.floor((width * height) / SAMPLED))));
  const counts = new Float64Array(256);
  for (let y = 0; y < height; y += step) {
    for (let x = 0; x < width; x += step) {
      for (let c = 0; c < 3; c++) counts[data[(y * width + x) * 4 + c]]++;
    }
  }
  const all = counts.reduce((sum, count) => sum + count, 0);
  const [dark, bright] = ENDS.map((end) => {
    let [value, sum] = [0, counts[0]];
    while (sum < end * all) sum += counts[++value];
    return value;
  });
  const share = Math.min((CLEAR - bright + dark) / (CLEAR - FAINT), 1);
  if (share <= 0 || bright - dark < NOTHING) return null;
  const gain = 1 + share * (Math.min(255 / (bright - dark), MOST_GAIN) - 1);
  return { levels: counts.map((_, value) => (value - dark) * gain + dark * (1 - share)), gain };
}

/** A picture with more contrast if it is dark or faint, else itself. */
export function inGoodLight(picture, contrast = contrastOf(picture)) {
  if (contrast === null) return picture;
  const data = picture.data.map((value, n) => (n % 4 === 3 ? value : contrast.levels[value]));
  return { data, width: picture.width, height: picture.height };
}

/** A crop as it is looked at again: its mirror image, and a little wider (pfvit.inference.unsure). */
export function secondLook({ data, width, height }) {
  const [across, down] = [width, height].map((side) => Math.round((side * WIDER) / 2));
  const wide = width + 2 * across;
  const high = height + 2 * down;
  const out = new Uint8ClampedArray(wide * high * 4);
  for (let y = 0; y < high; y++) {
    const row = Math.min(Math.max(y - down, 0), height - 1);
    for (let x = 0; x < wide; x++) {
      const column = width - 1 - Math.min(Math.max(x - across, 0), width - 1);
      for (let c = 0; c < 4; c++) out[(y * wide + x) * 4 + c] = data[(row * width + column) * 4 + c];
    }
  }
  return { data: out, width: wide, height: high };
}

/** The picture at another size, as Pillow's BILINEAR does it: a triangle as wide as a pixel of the smaller one. */
export function resize(picture, width, height) {
  const across = oneWay(picture.data, picture.width, picture.height, width, 4, picture.width * 4);
  const down = oneWay(across, picture.height, width, height, width * 4, 4);
  const data = new Uint8ClampedArray(width * height * 4);
  // `oneWay` has put columns in rows for the second pass: [width, height] -> [height, width].
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      for (let c = 0; c < 4; c++) data[(y * width + x) * 4 + c] = Math.round(down[(x * height + y) * 4 + c]);
    }
  }
  return { data, width, height };
}

/** Resample lines of `length` pixels (steps apart) to `wanted`; returns them line by line, RGBA. */
function oneWay(data, length, lines, wanted, step, stride) {
  const scale = length / wanted;
  const reach = Math.max(scale, 1);
  const out = new Float32Array(lines * wanted * 4);
  for (let place = 0; place < wanted; place++) {
    const middle = (place + 0.5) * scale;
    const first = Math.max(0, Math.floor(middle - reach + 0.5));
    const last = Math.min(length, Math.floor(middle + reach + 0.5));
    const weights = [];
    for (let n = first; n < last; n++) weights.push(Math.max(0, 1 - Math.abs(n + 0.5 - middle) / reach));
    const all = weights.reduce((sum, one) => sum + one, 0);
    for (let line = 0; line < lines; line++) {
      for (let c = 0; c < 4; c++) {
        let sum = 0;
        for (let n = 0; n < weights.length; n++) sum += weights[n] * data[line * stride + (first + n) * step + c];
        out[(line * wanted + place) * 4 + c] = sum / all;
      }
    }
  }
  return out;
}

/** Blur a plane, `wide` to a row, by about a Gaussian, as Pillow does it: by three boxes with soft ends. */
export function blurBox(plane, wide, deviation) {
  const part = deviation ** 2 / 3;
  const whole = Math.floor((Math.sqrt(12 * part + 1) - 1) / 2);
  const end = ((2 * whole + 1) * (whole * (whole + 1) - 3 * part)) / (6 * (part - (whole + 1) ** 2));
  const along = (start, count, step) => {
    const row = Float32Array.from({ length: count }, (_, k) => plane[start + k * step]);
    const near = (k) => row[Math.min(Math.max(k, 0), count - 1)];
    let sum = 0;
    for (let k = -whole; k <= whole; k++) sum += near(k);
    for (let k = 0; k < count; k++) {
      const ends = end * (near(k - whole - 1) + near(k + whole + 1));
      plane[start + k * step] = (sum + ends) / (2 * (whole + end) + 1);
      sum += near(k + whole + 1) - near(k - whole);
    }
  };
  const high = plane.length / wide;
  for (let pass = 0; pass < 3; pass++) {
    for (let row = 0; row < high; row++) along(row * wide, wide, 1);
    for (let column = 0; column < wide; column++) along(column, high, wide);
  }
}

/** Weights of four neighbours for a place between the second and the third: cubic, as Pillow's BICUBIC (a = -0.5). */
export function cubic(t) {
  const [a, b] = [t * t, t * t * t];
  return [-0.5 * t + a - 0.5 * b, 1 - 2.5 * a + 1.5 * b, 0.5 * t + 2 * a - 1.5 * b, -0.5 * a + 0.5 * b];
}

/** Write the colour at (x, y), in pixels from the corner, into `out`; beyond the picture its border goes on. */
export function colourAt({ data, width, height }, x, y, out) {
  const [left, top] = [Math.floor(x - 0.5), Math.floor(y - 0.5)];
  const [across, down] = [cubic(x - 0.5 - left), cubic(y - 0.5 - top)];
  out[0] = out[1] = out[2] = 0;
  for (let j = 0; j < 4; j++) {
    const row = Math.min(Math.max(top - 1 + j, 0), height - 1) * width;
    for (let i = 0; i < 4; i++) {
      const at = (row + Math.min(Math.max(left - 1 + i, 0), width - 1)) * 4;
      const weight = across[i] * down[j];
      out[0] += weight * data[at];
      out[1] += weight * data[at + 1];
      out[2] += weight * data[at + 2];
    }
  }
}
