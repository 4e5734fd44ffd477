// Faces through @vladmandic/face-api, its bare expression model; run by benchmarks/peers.py in its own folder.
// node face_api_worker.cjs FOLDER FACES.raw COUNT, or node face_api_worker.cjs FOLDER PHOTO.raw WIDTH HEIGHT
const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');

const [folder, file, ...numbers] = process.argv.slice(2);
const own = createRequire(path.join(folder, 'package.json'));
const tf = own('@tensorflow/tfjs');
const wasm = own('@tensorflow/tfjs-backend-wasm');
const faceapi = own('@vladmandic/face-api/dist/face-api.node-wasm.js');
const WORDS = { neutral: 'neutral', happy: 'happiness', sad: 'sadness', angry: 'anger', fearful: 'fear', disgusted: 'disgust', surprised: 'surprise' };
const SIDE = 48;
const models = path.join(folder, 'node_modules/@vladmandic/face-api/model');
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
const best = (shares) => Object.keys(WORDS).reduce((a, b) => (shares[a] > shares[b] ? a : b));

async function begin() {
  wasm.setWasmPaths(path.join(folder, 'node_modules/@tensorflow/tfjs-backend-wasm/dist/'));
  await tf.setBackend('wasm');
  await tf.ready();
  await faceapi.nets.faceExpressionNet.loadFromDisk(models);
}

function face(bytes, index) {
  const gray = tf.tensor3d(bytes.subarray(index * SIDE * SIDE, (index + 1) * SIDE * SIDE), [SIDE, SIDE, 1], 'int32');
  const rgb = tf.tile(gray, [1, 1, 3]);
  gray.dispose();
  return rgb;
}

async function answer(bytes, index) {
  const input = face(bytes, index);
  const shares = await faceapi.nets.faceExpressionNet.predictExpressions(input);
  input.dispose();
  return WORDS[best(shares)];
}

async function faces(count) {
  const bytes = new Uint8Array(fs.readFileSync(file));
  await begin();
  const labels = Object.values(WORDS);
  await answer(bytes, 0);
  const one = [];
  for (let index = 0; index < 50; index += 1) {
    const began = performance.now();
    await answer(bytes, index);
    one.push(performance.now() - began);
  }
  const answers = [];
  const began = performance.now();
  for (let index = 0; index < count; index += 1) answers.push(labels.indexOf(await answer(bytes, index)));
  const rate = (1000 * count) / (performance.now() - began);
  console.log(`\n${JSON.stringify({ labels, answers, one_ms: median(one), rate })}`);
}

async function photo(width, height) {
  await begin();
  await faceapi.nets.tinyFaceDetector.loadFromDisk(models);
  const pixels = tf.tensor3d(new Uint8Array(fs.readFileSync(file)), [height, width, 3], 'int32');
  const found = await faceapi.detectAllFaces(pixels, new faceapi.TinyFaceDetectorOptions()).withFaceExpressions();
  console.log(found.map((one) => WORDS[best(one.expressions)]).join());
}

const [a, b] = numbers.map(Number);
(b ? photo(a, b) : faces(a)).catch((problem) => { console.error(problem); process.exit(1); });
