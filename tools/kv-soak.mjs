// Many requests on KV memory that is committed on demand, and what the operating system says of it:
// node tools/kv-soak.mjs tiny|MODEL [requests] [seed]
//
// Requests of 256 to 320 tokens and more, 8 at a time, with eager reclaim and groups of at most 16 KiB; then a burst of long contexts, idle time
// and trim(). Ends with status 1 when memory does not follow the tokens, stays after the burst, or grows.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPipeline } from '../packages/core/dist/index.js';
import { seededRandom } from '../packages/core/src/pipeline/random.ts';
import { writeTinyModel } from '../packages/core/test/tinyModel.ts';
import { vattention } from '../packages/vattention/dist/index.js';

const [name = 'tiny', count = '10000', seed = '1'] = process.argv.slice(2);
const STREAMS = 8;
const CONTEXT = 2048;
// 16 tokens of either model fit.
const GROUP_BYTES = 16_384;
const MOST_WASTE = 1.15;
const requests = Number(count);

const folder = await mkdtemp(path.join(tmpdir(), 'llmopt-soak-'));
try {
  const model =
    name === 'tiny'
      ? await writeTinyModel(path.join(folder, 'tiny.gguf'), { context: CONTEXT, width: 256, kvHeads: 4 })
      : name;
  process.exitCode = (await soak(model)) ? 0 : 1;
} finally {
  await rm(folder, { recursive: true });
}

async function soak(model) {
  const memory = vattention({ reclaim: 'eager', groupBytes: GROUP_BYTES, eagerTokens: 0 });
  let due = false;
  // Behind a step: within one, memory of its rows is there already.
  const watch = { name: 'watch', version: '1', fidelity: 'exact', step: () => due && sample() };
  await using pipeline = await createPipeline({
    model,
    plugins: [memory, watch],
    slots: STREAMS,
    contextLength: CONTEXT,
    cacheDir: name === 'tiny' ? folder : undefined,
  });
  const random = seededRandom(Number(seed));
  const vocabulary = pipeline.graph.config.vocabularySize;
  const rangesBytes = 2 * pipeline.graph.config.layers * GROUP_BYTES;
  const request = (least, most, maxNewTokens) =>
    pipeline.generate(
      Array.from({ length: least + Math.floor(random() * (most - least)) }, () => Math.floor(random() * vocabulary)),
      {
        maxNewTokens,
        ignoreEndToken: true,
      },
    );
  await request(256, 320, 4);
  const resting = memory.stats().residentBytes;
  const samples = [];
  let done = 0;
  let started = 0;
  await Promise.all(
    Array.from({ length: STREAMS }, async () => {
      while (started < requests) {
        started++;
        await request(256, 320, 4 + Math.floor(random() * 12));
        due = ++done % Math.max(1, Math.floor(requests / 200)) === 0;
      }
    }),
  );
  function sample() {
    due = false;
    const { liveBytes, residentBytes, committedBytes } = memory.stats();
    samples.push({ liveBytes, residentBytes, committedBytes, rss: process.memoryUsage.rss(), at: done });
  }
  const busy = samples.filter(({ liveBytes }) => liveBytes > 0);
  const waste =
    busy.reduce((sum, { residentBytes }) => sum + residentBytes, 0) /
    busy.reduce((sum, { liveBytes }) => sum + liveBytes, 0);
  const late = samples.slice(samples.length >> 1);
  const growth = (slope(late) * (late.at(-1).at - late[0].at)) / late[0].rss;

  await Promise.all(Array.from({ length: STREAMS }, () => request(CONTEXT - 200, CONTEXT - 100, 16)));
  const burst = memory.stats();
  await sleep(500);
  memory.trim();
  const after = memory.stats().residentBytes;
  const megabytes = (bytes) => (bytes / 1e6).toFixed(2);
  console.log(
    `${requests} requests on ${name}: resident over live ${waste.toFixed(3)} (${busy.length} samples; at most ${MOST_WASTE})`,
  );
  console.log(
    `process ${megabytes(late[0].rss)} to ${megabytes(late.at(-1).rss)} MB over the second half, trend ${(growth * 100).toFixed(2)} %`,
  );
  console.log(
    `KV resident: ${megabytes(resting)} MB at rest before, ${megabytes(burst.residentBytes)} behind a burst, ${megabytes(after)} when idle and trimmed`,
  );
  return waste <= MOST_WASTE && growth < 0.02 && after <= resting * 1.05 + rangesBytes;
}

/** Bytes per request, by least squares. */
function slope(samples) {
  const mean = (of) => samples.reduce((sum, each) => sum + of(each), 0) / samples.length;
  const [x, y] = [mean(({ at }) => at), mean(({ rss }) => rss)];
  return mean(({ at, rss }) => (at - x) * (rss - y)) / mean(({ at }) => (at - x) ** 2);
}
