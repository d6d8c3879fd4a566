import type { Report } from '../arms/protocol.ts';
import type { OpenedArm } from '../arms/spec.ts';
import { startSampling } from './memorySamples.ts';
import type { ServeInput, ServeReport } from './protocol.ts';
import { replay } from './replay.ts';

/** Whatever the model's generation_config.json asks for. */
const greedy = { temperature: 0, repetitionPenalty: 1, ignoreEndToken: true };

/** Tokens of the prompt that gets the threads going. */
const warmupTokens = 64;

/** Replays requests on a loaded pipeline, behind one that is not counted. Its prompt is none that the others could go on with. */
export async function serveArm(
  { pipeline, slots = 1, watch }: OpenedArm,
  { requests, ...options }: ServeInput,
  report: Report,
): Promise<ServeReport> {
  const warmup = requests[0]?.prompt.toReversed().slice(0, warmupTokens);
  if (warmup) await pipeline.generate(warmup, { ...greedy, maxNewTokens: 2 });
  const processBytesBefore = process.memoryUsage.rss();
  const sampling = startSampling({
    read() {
      const { reservedBytes, committedBytes, liveBytes } = pipeline.memory().kv;
      const residentBytes = watch?.residentBytes();
      const processBytes = process.memoryUsage.rss();
      return {
        reservedBytes,
        committedBytes,
        liveBytes,
        ...(residentBytes !== undefined && { residentBytes }),
        processBytes,
      };
    },
  });
  try {
    const { records, wallMs } = await replay(
      async ({ prompt, newTokens }) =>
        (await pipeline.generate(prompt, { ...greedy, maxNewTokens: newTokens })).timings.tokenTimesMs,
      requests,
      { ...options, onProgress: (fraction) => report({ stage: 'requests', fraction }) },
    );
    return {
      ...{ records, wallMs, memory: sampling.stop(), processBytesBefore, slots, metrics: pipeline.metrics() },
      ...(watch && { mostHeld: watch.mostHeld() }),
    };
  } finally {
    sampling.stop();
  }
}
