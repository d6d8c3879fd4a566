import { performance } from 'node:perf_hooks';
import type { PreTrainedModel, PreTrainedTokenizer } from '@huggingface/transformers';
import type { Handlers, RunReport, RunRequest } from '../arms/protocol.ts';
import type { PeerLoad, PeerLoadReport } from './protocol.ts';
import { timingsOf } from './timings.ts';

interface Loaded {
  transformers: typeof import('@huggingface/transformers');
  model: PreTrainedModel;
  tokenizer: PreTrainedTokenizer;
  prompts: PeerLoad['prompts'];
}

async function load({ file, setting: { threads }, prompts }: PeerLoad) {
  // Imported only in a process that runs this engine; most users do not have it.
  const transformers = await import('@huggingface/transformers');
  const { AutoModelForCausalLM, AutoTokenizer, env, LogLevel } = transformers;
  env.allowRemoteModels = false;
  env.logLevel = LogLevel.ERROR;
  const began = performance.now();
  const session = threads === undefined ? {} : { session_options: { intraOpNumThreads: threads } };
  const model = await AutoModelForCausalLM.from_pretrained(file, { dtype: 'fp32', device: 'cpu', ...session });
  const tokenizer = await AutoTokenizer.from_pretrained(file);
  const loaded: Loaded = { transformers, model, tokenizer, prompts };
  const report: PeerLoadReport = {
    loadSeconds: (performance.now() - began) / 1000,
    settings: { device: 'cpu', dtype: 'fp32', ...(threads === undefined ? {} : { threads }) },
  };
  return { loaded, report };
}

async function generate(
  { transformers, model, tokenizer, prompts }: Loaded,
  { prompt, maxNewTokens, ignoreEndToken }: RunRequest,
): Promise<RunReport> {
  const ids = prompts[prompt];
  if (!ids) throw new Error(`Prompt ${prompt} was not loaded.`);
  const { BaseStreamer, Tensor } = transformers;
  const int64 = (values: readonly number[]) => new Tensor('int64', BigInt64Array.from(values, BigInt), [1, ids.length]);
  const times: number[] = [];
  const streamer = Object.assign(new BaseStreamer(), {
    put: () => void times.push(performance.now() - began),
    end: () => {},
  });
  const inputs = { input_ids: int64(ids), attention_mask: int64(ids.map(() => 1)) };
  const ends = ignoreEndToken ? { eos_token_id: null } : {};
  const began = performance.now();
  const sequences = await model.generate({
    ...inputs,
    ...{ do_sample: false, repetition_penalty: 1, max_new_tokens: maxNewTokens, ...ends },
    streamer,
    // The types ask for a streamer of text.
  } as unknown as Parameters<PreTrainedModel['generate']>[0]);
  const totalMs = performance.now() - began;
  const all = Array.from((sequences as InstanceType<typeof Tensor>).data as BigInt64Array, Number);
  const tokens = all.slice(ids.length);
  // First it is told the prompt.
  const tokenTimesMs = times.slice(1);
  const end = [model.generation_config?.eos_token_id ?? []].flat();
  const isCut = !ignoreEndToken && end.includes(tokens.at(-1) as number);
  if (isCut) {
    tokens.pop();
    tokenTimesMs.pop();
  } else if (tokens.length < maxNewTokens) {
    throw new Error(`It wrote ${tokens.length} tokens instead of ${maxNewTokens}.`);
  }
  return {
    usage: { inputTokens: ids.length, outputTokens: tokens.length, totalTokens: ids.length + tokens.length },
    timings: timingsOf(tokenTimesMs, ids.length, totalMs),
    finishReason: isCut ? 'endToken' : 'length',
    text: tokenizer.decode(tokens, { skip_special_tokens: true }),
    metrics: {},
    residentBytes: process.memoryUsage.rss(),
  };
}

/**
 * What the process of a transformers.js arm does when asked: the same prompts, greedily, on the CPU, from a folder with an exported
 * model. Each request begins with an empty cache. Nothing is downloaded.
 */
export function createTransformersHandlers(): Handlers<'loadPeer' | 'run'> {
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
  };
}
