import { performance } from 'node:perf_hooks';
import { LlmoptError, measureReadBandwidth, type Pipeline, type Progress } from '@llmopt/core';
import { profileDecode } from '../profile.ts';
import { evaluateQuality } from '../quality/evaluate.ts';
import { compareLogits, writeLogits } from '../quality/logitsFile.ts';
import { serveArm } from '../serve/serveArm.ts';
import { probeBackend } from './probe.ts';
import type { ArmCall, Handlers, LoadReport, RunReport, RunRequest } from './protocol.ts';
import type { ArmSpec, OpenedArm } from './spec.ts';

export type OpenArm = (spec: ArmSpec, onProgress?: (progress: Progress) => void) => Promise<OpenedArm>;

/** The prompts as the model reads them: as a user's turn if the model has a chat template, else as they are. */
function encodePrompts(pipeline: Pipeline, prompts: readonly string[]): { ids: number[][]; chatTemplate: boolean } {
  const { tokenizer } = pipeline;
  try {
    return {
      ids: prompts.map((content) => tokenizer.encodeChat([{ role: 'user', content }])),
      chatTemplate: true,
    };
  } catch (error) {
    if (!LlmoptError.isInstance(error) || error.code !== 'LLMOPT_CHAT_TEMPLATE') throw error;
    return { ids: prompts.map((prompt) => tokenizer.encode(prompt)), chatTemplate: false };
  }
}

function assertFits(pipeline: Pipeline, ids: readonly number[][], maxNewTokens: number): void {
  const { contextLength } = pipeline.graph.config;
  for (const [index, { length }] of ids.entries()) {
    if (length + maxNewTokens <= contextLength) continue;
    throw new LlmoptError(
      'LLMOPT_PROMPT_TOO_LONG',
      `Prompt ${index + 1} has ${length} tokens; with ${maxNewTokens} new ones it exceeds the context of ${contextLength}.`,
      { hint: 'Shorten it, or generate fewer tokens.' },
    );
  }
}

/** What an arm's process does when asked. One pipeline per process, except to measure quality, which needs two. */
export function createHandlers(open: OpenArm): Handlers<Exclude<ArmCall, 'loadPeer' | 'comparePeer'>> {
  let loaded: (OpenedArm & { prompts: number[][] }) | undefined;

  const loadedPrompt = (prompt: number) => {
    const ids = loaded?.prompts[prompt];
    if (!loaded || !ids) throw new LlmoptError('LLMOPT_BENCH_FAILED', `Prompt ${prompt} was not loaded.`);
    return { pipeline: loaded.pipeline, ids };
  };
  const loadedArm = () => {
    if (!loaded) throw new LlmoptError('LLMOPT_BENCH_FAILED', 'No model was loaded.');
    return loaded;
  };

  const generate = async ({ prompt, promptTokens, maxNewTokens, ignoreEndToken }: RunRequest): Promise<RunReport> => {
    const { pipeline, ids } = loadedPrompt(prompt);
    // Whatever the model's generation_config.json asks for.
    const greedy = { temperature: 0, repetitionPenalty: 1 };
    const result = await pipeline.generate(ids.slice(0, promptTokens), { maxNewTokens, ignoreEndToken, ...greedy });
    const { kv } = pipeline.memory();
    return {
      usage: result.usage,
      timings: result.timings,
      finishReason: result.finishReason,
      text: result.text,
      kvBytes: kv.committedBytes,
      metrics: pipeline.metrics(),
      residentBytes: process.memoryUsage.rss(),
    };
  };

  return {
    async load({ spec, prompts, maxNewTokens }, report): Promise<LoadReport> {
      await loaded?.pipeline.dispose();
      const start = performance.now();
      const opened = await open(spec, report);
      const { pipeline, backend } = opened;
      const loadSeconds = (performance.now() - start) / 1000;
      const { ids, chatTemplate } = encodePrompts(pipeline, prompts);
      assertFits(pipeline, ids, maxNewTokens);
      loaded = { ...opened, prompts: ids };
      return {
        loadSeconds,
        model: pipeline.model,
        backend,
        plugins: pipeline.plan.plugins.map(({ name, version, options, fidelity }) => ({
          name,
          version,
          options,
          fidelity,
        })),
        promptTokens: ids,
        chatTemplate,
        description: pipeline.describe(),
      };
    },

    run: generate,
    serve: (input, report) => serveArm(loadedArm(), input, report),

    async profile({ prompt, steps }) {
      const { pipeline, ids } = loadedPrompt(prompt);
      return profileDecode(pipeline, ids, steps);
    },

    async cpu() {
      const { user, system } = process.cpuUsage();
      return { userSeconds: user / 1e6, systemSeconds: system / 1e6 };
    },

    probe: ({ backend }) => probeBackend(backend),

    bandwidth: ({ threads }) => measureReadBandwidth({ threads }),

    async writeLogits(input, report) {
      const onProgress = (fraction: number) => report({ stage: 'quality', fraction });
      const losses = await writeLogits(loadedArm().pipeline, { ...input, onProgress });
      return { positions: losses.length, losses };
    },

    compareLogits(input, report) {
      const onProgress = (fraction: number) => report({ stage: 'quality', fraction });
      return compareLogits(loadedArm().pipeline, { ...input, onProgress });
    },

    async quality({ baseline, optimized, text, maxTokens, seed }, report) {
      const { pipeline: a } = await open(baseline, report);
      const { pipeline: b } = await open(optimized, report).catch(async (error: unknown) => {
        await a.dispose();
        throw error;
      });
      try {
        return await evaluateQuality({
          baseline: a,
          optimized: b,
          text,
          maxTokens,
          seed,
          onProgress: (fraction) => report({ stage: 'quality', fraction }),
        });
      } finally {
        await Promise.all([a.dispose(), b.dispose()]);
      }
    },
  };
}
