// SPDX-License-Identifier: Apache-2.0
// node node_consumer.mjs MODEL IMAGES SHAPE OUTPUT: loads an ONNX file in onnxruntime-node, found
// through NODE_PATH, runs it on the float32 images and writes the logits as float32.
import { createRequire } from 'node:module';
import { readFileSync, writeFileSync } from 'node:fs';

const [model, imageFile, shape, output] = process.argv.slice(2);
const ort = createRequire(import.meta.url)('onnxruntime-node');
const bytes = readFileSync(imageFile);
const images = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
const session = await ort.InferenceSession.create(model);
if (session.inputNames.join() !== 'image' || session.outputNames.join() !== 'logits') {
  throw new Error(`inputs ${session.inputNames}, outputs ${session.outputNames}`);
}
const input = new ort.Tensor('float32', images, shape.split('x').map(Number));
const { logits } = await session.run({ image: input });
if (logits.type !== 'float32') throw new Error(`logits are ${logits.type}`);
writeFileSync(output, Buffer.from(logits.data.buffer, logits.data.byteOffset, logits.data.byteLength));
