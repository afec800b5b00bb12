// Work for the end-to-end test: worker threads, buffers, compression, hashes, many small objects.
// Prints only what does not depend on timing or addresses.
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const crypto = require('crypto');
const fs = require('fs');
const zlib = require('zlib');

const sha = (data) => crypto.createHash('sha256').update(data).digest('hex').slice(0, 16);

function countWords(text) {
  const counts = new Map();
  for (const word of text.split(/\s+/)) counts.set(word, (counts.get(word) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

if (!isMainThread) {
  const { number, text } = workerData;
  // Buffers of many sizes, each filled, sliced, packed and unpacked.
  const hash = crypto.createHash('sha256');
  for (let size = 1; size < 3_000_000; size = Math.ceil(size * 1.7) + number) {
    const buffer = Buffer.alloc(size, number + 1);
    const joined = Buffer.concat([buffer, Buffer.from(text.slice(0, size % 5000)), buffer.subarray(0, size >> 1)]);
    const again = zlib.inflateSync(zlib.deflateSync(joined, { level: 1 }));
    if (!again.equals(joined)) throw new Error(`size ${size} changed`);
    hash.update(again);
  }
  const words = countWords(text);
  const big = new ArrayBuffer(1 << 20);
  new Uint8Array(big).fill(number);
  parentPort.postMessage({ number, digest: hash.digest('hex').slice(0, 16), words: words.length, first: words[0], big }, [big]);
} else {
  const text = fs.readFileSync(process.argv[2], 'utf8');
  const run = (number) =>
    new Promise((resolve, reject) => {
      const part = text.slice(number * 100_000, (number + 1) * 100_000);
      const worker = new Worker(__filename, { workerData: { number, text: part } });
      worker.once('message', resolve);
      worker.once('error', reject);
    });
  (async () => {
    const results = [];
    for (let round = 0; round < 2; round++)
      results.push(...(await Promise.all([0, 1, 2, 3].map((n) => run(n + round * 4)))));
    for (const { number, digest, words, first, big } of results)
      console.log('worker', number, digest, words, first.join(':'), big.byteLength, sha(new Uint8Array(big)));
    const records = text.split('\n').map((line, id) => ({ id, line, words: line.split(' ') }));
    const again = JSON.parse(JSON.stringify(records));
    console.log('records', again.length, sha(JSON.stringify(again.filter((r) => r.id % 5 === 0))));
    const packed = await new Promise((resolve, reject) =>
      zlib.gzip(Buffer.from(text.repeat(4)), (error, data) => (error ? reject(error) : resolve(data))));
    console.log('gunzip', sha(zlib.gunzipSync(packed)), zlib.gunzipSync(packed).length);
    const key = crypto.pbkdf2Sync('secret', 'salt', 20_000, 64, 'sha512');
    console.log('key', key.toString('hex').slice(0, 16));
  })();
}
