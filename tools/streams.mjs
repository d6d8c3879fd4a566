// What many streams gain, what a long prompt does to them, and what a conversation's second turn saves, in pairs:
// [KV=int16] node tools/streams.mjs [model] [streams] [rounds]
import { percentile, summarize } from '../packages/bench/src/statistics/summary.ts';
import { createPipeline, wasm } from '../packages/core/dist/index.js';
import { vattention } from '../packages/vattention/dist/index.js';

const [model = 'smollm2-135m', streams = '8', rounds = '10'] = process.argv.slice(2);
const STREAMS = Number(streams);
const TOKENS = 64;
const kv = process.env.KV ?? 'float32';
const text = 'The history of the sea is long, and those who sail on it have told many stories about it. ';

await using pipeline = await createPipeline({
  model,
  backend: wasm({ kv }),
  plugins: [vattention()],
  slots: STREAMS + 1,
  contextLength: 2048,
});
const { tokenizer } = pipeline;
/** So many tokens that begin like no others. */
let variety = 0;
const prompt = (length) => tokenizer.encode(`${variety++}: ${text.repeat(Math.ceil(length / 16))}`).slice(0, length);
const generate = (tokens, maxNewTokens) => pipeline.generate(tokens, { maxNewTokens, ignoreEndToken: true });
const times = async (tokens, maxNewTokens) => {
  const began = performance.now();
  const { timings } = await generate(tokens, maxNewTokens);
  return timings.tokenTimesMs.map((ms) => began + ms);
};

await times(prompt(64), 16);
const gains = [];
const one = [];
const all = [];
for (let round = 0; round < Number(rounds); round++) {
  const single = await times(prompt(64), TOKENS);
  one.push((1000 * (TOKENS - 1)) / (single.at(-1) - single[0]));
  const many = await Promise.all(Array.from({ length: STREAMS }, () => times(prompt(64), 3 * TOKENS)));
  // While all of them answer.
  const from = Math.max(...many.map((list) => list[0]));
  const to = Math.min(...many.map((list) => list.at(-1)));
  all.push((1000 * many.flat().filter((at) => at > from && at <= to).length) / (to - from));
  gains.push(all.at(-1) / one.at(-1));
}
console.log(`decode, tokens/s: one stream ${summary(one)}, ${STREAMS} streams ${summary(all)}, gain ${summary(gains)}`);

const before = [];
const during = [];
for (let round = 0; round < Number(rounds); round++) {
  const running = Array.from({ length: STREAMS - 1 }, () => times(prompt(64), 240));
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const admitted = performance.now();
  const first = (await times(prompt(1000), 1))[0];
  for (const list of await Promise.all(running)) {
    for (let i = 1; i < list.length; i++) {
      const gap = list[i] - list[i - 1];
      if (list[i - 1] > admitted - 1000 && list[i] <= admitted) before.push(gap);
      if (list[i] > admitted && list[i - 1] < first) during.push(gap);
    }
  }
}
const [p50, p99] = [percentile(before, 0.5), percentile(during, 0.99)];
console.log(
  `inter-token latency of ${STREAMS - 1} streams, ms: p50 before a prompt of 1,000 tokens ${p50.toFixed(1)}, p99 while it is read ${p99.toFixed(1)} (p50 ${percentile(during, 0.5).toFixed(1)}), ${(p99 / p50).toFixed(2)}x (${before.length} and ${during.length} gaps)`,
);

const cold = [];
const warm = [];
for (let round = 0; round < Number(rounds); round++) {
  const history = prompt(1000);
  const first = await generate(history, 16);
  cold.push(first.timings.timeToFirstTokenMs);
  const second = await generate([...history, ...first.tokens, ...tokenizer.encode('And then?')], 16);
  warm.push(second.timings.timeToFirstTokenMs);
}
console.log(
  `time to first token, ms: 1,000 tokens ${summary(cold)}, a second turn over them ${summary(warm)}, ${summary(warm.map((ms, i) => (100 * ms) / cold[i]))} % of it`,
);

/** Mean with a 95 % interval. */
function summary(values) {
  const { mean, ci95 } = summarize(values);
  return `${mean.toPrecision(3)} (${ci95.map((end) => end.toPrecision(3)).join(' to ')})`;
}
