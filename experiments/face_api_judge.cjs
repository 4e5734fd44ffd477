// An outside judge of faces: @vladmandic/face-api's expression, landmark and recognition networks.
// node face_api_judge.cjs FOLDER FACES.raw COUNT SIDE: one JSON line per face. FOLDER has @vladmandic/face-api,
// @tensorflow/tfjs and @tensorflow/tfjs-backend-wasm installed; FACES.raw holds uint8 [count, side, side, 3].
const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');

const [folder, file, count, side] = process.argv.slice(2);
const own = createRequire(path.join(folder, 'package.json'));
const tf = own('@tensorflow/tfjs');
const wasm = own('@tensorflow/tfjs-backend-wasm');
const faceapi = own('@vladmandic/face-api/dist/face-api.node-wasm.js');
const models = path.join(folder, 'node_modules/@vladmandic/face-api/model');

(async () => {
  wasm.setWasmPaths(path.join(folder, 'node_modules/@tensorflow/tfjs-backend-wasm/dist/'));
  await tf.setBackend('wasm');
  await tf.ready();
  for (const net of ['faceExpressionNet', 'faceLandmark68Net', 'faceRecognitionNet']) await faceapi.nets[net].loadFromDisk(models);
  const bytes = new Uint8Array(fs.readFileSync(file));
  const size = side * side * 3;
  for (let index = 0; index < Number(count); index += 1) {
    const face = tf.tensor3d(bytes.subarray(index * size, (index + 1) * size), [Number(side), Number(side), 3], 'int32');
    const expressions = await faceapi.nets.faceExpressionNet.predictExpressions(face);
    const landmarks = await faceapi.nets.faceLandmark68Net.detectLandmarks(face);
    const descriptor = await faceapi.nets.faceRecognitionNet.computeFaceDescriptor(face);
    face.dispose();
    console.log(JSON.stringify({
      expressions: { ...expressions },
      landmarks: landmarks.positions.map((point) => [point.x / side, point.y / side]),
      descriptor: Array.from(descriptor),
    }));
  }
})();
