import { performance } from 'node:perf_hooks';
import type { LlamaContextSequence, LlamaModel, Token } from 'node-llama-cpp';
import type { ArmCalls, Handlers, Report, RunReport, RunRequest } from '../arms/protocol.ts';
import { compareRows } from '../quality/compareRows.ts';
import { addScore, type Divergences, noDivergences } from '../quality/divergences.ts';
import { openLogits } from '../quality/logitsReader.ts';
import { startSampling } from '../serve/memorySamples.ts';
import { type ReplayRequest, replay } from '../serve/replay.ts';
import type { PeerLoad, PeerLoadReport } from './protocol.ts';
import { timingsOf } from './timings.ts';

interface Loaded {
  model: LlamaModel;
  sequence: LlamaContextSequence;
  /** All of them, with the one above. */
  sequences: LlamaContextSequence[];
  prompts: PeerLoad['prompts'];
}

async function load({ file, setting: { threads }, prompts, maxNewTokens, ...size }: PeerLoad) {
  // Imported only in a process that runs this engine; most users do not have it.
  const { getLlama, LlamaLogLevel } = await import('node-llama-cpp');
  const began = performance.now();
  const llama = await getLlama({
    gpu: false,
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    logLevel: LlamaLogLevel.error,
    maxThreads: threads,
  });
  const model = await llama.loadModel({ modelPath: file });
  const longest = Math.max(...prompts.map(({ length }) => length));
  const { sequences: count = 1, contextLength = longest + maxNewTokens } = size;
  // One more than is needed: a context that is full would be shifted.
  const context = await model.createContext({ contextSize: contextLength + 1, sequences: count, threads });
  const sequences = Array.from({ length: count }, () => context.getSequence());
  const loaded: Loaded = { model, sequence: sequences[0] as LlamaContextSequence, sequences, prompts };
  const report: PeerLoadReport = {
    loadSeconds: (performance.now() - began) / 1000,
    settings: {
      threads: context.idealThreads,
      batchSize: context.batchSize,
      contextSize: context.contextSize,
      sequences: count,
      flashAttention: context.flashAttention,
    },
  };
  return { loaded, report };
}

async function generate(
  { model, sequence, prompts }: Loaded,
  { prompt, maxNewTokens, ignoreEndToken }: RunRequest,
): Promise<RunReport> {
  const ids = prompts[prompt];
  if (!ids) throw new Error(`Prompt ${prompt} was not loaded.`);
  await sequence.clearHistory();
  if (sequence.nextTokenIndex !== 0) throw new Error('The cache still holds tokens of the request before.');

  const began = performance.now();
  const tokens: Token[] = [];
  const tokenTimesMs: number[] = [];
  for await (const token of sequence.evaluate([...ids] as Token[], { temperature: 0, yieldEogToken: ignoreEndToken })) {
    tokenTimesMs.push(performance.now() - began);
    tokens.push(token);
    if (tokens.length === maxNewTokens) break;
  }
  const totalMs = performance.now() - began;
  const isCut = tokens.length < maxNewTokens;
  if (isCut && ignoreEndToken) throw new Error(`It wrote ${tokens.length} tokens instead of ${maxNewTokens}.`);
  return {
    usage: { inputTokens: ids.length, outputTokens: tokens.length, totalTokens: ids.length + tokens.length },
    timings: timingsOf(tokenTimesMs, ids.length, totalMs),
    finishReason: isCut ? 'endToken' : 'length',
    text: model.detokenize(tokens),
    metrics: {},
    residentBytes: process.memoryUsage.rss(),
  };
}

/** Replays requests, each on a sequence that is free. */
async function serveRequests(
  { sequences }: Loaded,
  { requests, ...options }: ArmCalls['serve']['input'],
  report: Report,
): Promise<ArmCalls['serve']['output']> {
  const free = [...sequences];
  const generateOn = async (sequence: LlamaContextSequence, { prompt, newTokens }: ReplayRequest) => {
    const began = performance.now();
    await sequence.clearHistory();
    const tokenTimesMs: number[] = [];
    for await (const _ of sequence.evaluate([...prompt] as Token[], { temperature: 0, yieldEogToken: true })) {
      tokenTimesMs.push(performance.now() - began);
      if (tokenTimesMs.length === newTokens) break;
    }
    if (tokenTimesMs.length < newTokens) throw new Error(`It wrote ${tokenTimesMs.length} of ${newTokens} tokens.`);
    return tokenTimesMs;
  };
  const processBytesBefore = process.memoryUsage.rss();
  const sampling = startSampling({ read: () => ({ processBytes: process.memoryUsage.rss() }) });
  try {
    const { records, wallMs } = await replay(
      async (request) => {
        const sequence = free.pop();
        if (!sequence) throw new Error('There are more requests in flight than sequences.');
        return generateOn(sequence, request).finally(() => free.push(sequence));
      },
      requests,
      { ...options, onProgress: (fraction) => report({ stage: 'requests', fraction }) },
    );
    return { records, wallMs, memory: sampling.stop(), processBytesBefore, slots: sequences.length, metrics: {} };
  } finally {
    sampling.stop();
  }
}

/** Positions whose probabilities, a map of the whole vocabulary each, are in memory at once. */
const chunkTokens = 16;

async function compare(
  { sequence }: Loaded,
  { windows, file, vocabularySize }: ArmCalls['comparePeer']['input'],
  report: Report,
): Promise<Divergences> {
  const expected = new Float32Array(vocabularySize);
  const own = new Float32Array(vocabularySize);
  const result = noDivergences();
  const reader = await openLogits(file);
  // Probabilities as the model gives them.
  const generateNext = { probabilities: true, options: { temperature: 1, topK: 0, topP: 1, minP: 0 } };
  try {
    for (const [number, { tokens, firstScoredRow }] of windows.entries()) {
      await sequence.clearHistory();
      // The last token is only foretold.
      const rows = tokens.length - 1;
      for (let from = 0; from < rows; from += chunkTokens) {
        const chunk = tokens.slice(from, Math.min(from + chunkTokens, rows)) as Token[];
        const outputs = await sequence.controlledEvaluate(chunk.map((token) => [token, { generateNext }]));
        for (const [index, output] of outputs.entries()) {
          const row = from + index;
          if (row < firstScoredRow) continue;
          const { probabilities } = output?.next ?? {};
          if (!probabilities || !(await reader.next(expected)))
            throw new Error(`Position ${row} has no probabilities.`);
          own.fill(Number.NEGATIVE_INFINITY);
          for (const [token, probability] of probabilities) own[token] = Math.log(Math.max(probability, smallest));
          addScore(result, compareRows(expected, own, tokens[row + 1] as number));
        }
        report({ stage: 'quality', fraction: (number + from / rows) / windows.length });
      }
    }
    return result;
  } finally {
    await reader.close();
  }
}

/** No probability is 0: one that float32 cannot hold would make the divergence infinite. */
const smallest = 2 ** -149;

/**
 * What the process of a node-llama-cpp arm does when asked: the same prompts, greedily, on the CPU. Each request begins
 * with an empty cache. Nothing is built or downloaded.
 */
export function createLlamaHandlers(): Handlers<'loadPeer' | 'run' | 'serve' | 'comparePeer'> {
  let loaded: Loaded | undefined;
  return {
    async loadPeer(input) {
      const opened = await load(input);
      loaded = opened.loaded;
      return opened.report;
    },
    async run(request) {
      if (!loaded) throw new Error('Nothing was loaded.');
      return generate(loaded, request);
    },
    async serve(input, report) {
      if (!loaded) throw new Error('Nothing was loaded.');
      return serveRequests(loaded, input, report);
    },
    async comparePeer(input, report) {
      if (!loaded) throw new Error('Nothing was loaded.');
      return compare(loaded, input, report);
    },
  };
}
