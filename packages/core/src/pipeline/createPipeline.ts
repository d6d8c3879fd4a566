import path from 'node:path';
import { buildGraph } from '../architectures/index.ts';
import type { Backend, Executable } from '../backends/backend.ts';
import { reference } from '../backends/reference/index.ts';
import { wasm } from '../backends/wasm/index.ts';
import { readGenerationConfig, type SamplingDefaults } from '../checkpoint/generationConfig.ts';
import { type Checkpoint, defaultCacheFolder, openCheckpoint, resolveModel } from '../checkpoint/index.ts';
import { LlmoptError } from '../errors.ts';
import { checkGraph } from '../graph/check.ts';
import { type Graph, withParams } from '../graph/graph.ts';
import { contiguousKvCache } from '../kv/contiguous.ts';
import { isCustom } from '../ops/op.ts';
import { createDriver, type Driver } from '../plugin/driver.ts';
import { checkKernels, createPlan, type Plan } from '../plugin/plan.ts';
import { type Tokenizer, tokenizerFrom } from '../tokenizer/index.ts';
import { describePipeline } from './describe.ts';
import { createGenerator } from './generator.ts';
import { createScheduler } from './scheduler.ts';
import { createStream } from './stream.ts';
import type { Pipeline, PipelineOptions } from './types.ts';

const OLDEST_NODE = [22, 18] as const;

/**
 * Opens a model, lets the plugins rewrite it, and gets it ready to run. Everything that can be known without reading weights is
 * checked first.
 * @throws LLMOPT_PLAN, LLMOPT_MODEL_NOT_FOUND, LLMOPT_OUT_OF_MEMORY, LLMOPT_OPTION_INVALID, LLMOPT_ABORTED, and what reading the file throws
 */
export async function createPipeline(options: PipelineOptions): Promise<Pipeline> {
  refuseOldNode();
  const backend = backendOf(options.backend ?? 'wasm');
  const settings = checkSizes(options);
  const plan = createPlan(options.plugins ?? [], backend);
  const driver = createDriver(plan.plugins);
  const { signal, onProgress } = options;
  const cacheDir = options.cacheDir === false ? undefined : (options.cacheDir ?? defaultCacheFolder());
  refuseAborted(signal);
  const checkpoint = await openModel(options, cacheDir);
  let executable: Executable | undefined;
  try {
    const base = buildGraph(checkpoint);
    const graph = nameRewrittenParams(await driver.waterfall('graph', base), base, plan);
    checkGraph(graph);
    checkKernels(graph, backend);
    const tokenizer = await driver.waterfall('tokenizer', await tokenizerFrom(checkpoint));
    const { sampling } = await readGenerationConfig(checkpoint);
    refuseAborted(signal);
    const makeCache = driver.exclusive('kvCache') ?? contiguousKvCache;
    const promptsDiffer = graph.ops.some((op) => isCustom(op) && op.definition.promptsDiffer?.(op) === true);
    const checksum = await checkpoint.checksum();
    executable = await backend.compile(graph, {
      slots: settings.slots,
      leastSlots: options.slots ?? 1,
      contextLength: settings.contextLength ?? graph.config.contextLength,
      maxRows: settings.maxRows,
      kvCache: (layout, memory) =>
        makeCache(layout, { memory, modelKey: kvKey(checksum, plan, backend), promptsDiffer }),
      modelKey: checksum,
      cacheDir: cacheDir === undefined ? undefined : path.join(cacheDir, 'packed'),
      onProgress,
      signal,
    });
    await driver.settle('ready');
    return assemble({
      name: typeof options.model === 'string' ? options.model : checkpoint.path,
      backend,
      plan,
      driver,
      checkpoint,
      graph,
      tokenizer,
      sampling,
      executable,
      maxRows: settings.maxRows,
    });
  } catch (error) {
    await executable?.dispose();
    if (typeof options.model === 'string') await checkpoint.close();
    if (signal?.aborted && !LlmoptError.isInstance(error)) refuseAborted(signal);
    throw error;
  }
}

interface Parts {
  name: string;
  backend: Backend;
  plan: Plan;
  driver: Driver;
  checkpoint: Checkpoint;
  graph: Graph;
  tokenizer: Tokenizer;
  sampling: SamplingDefaults;
  executable: Executable;
  maxRows: number;
}

function assemble(parts: Parts): Pipeline {
  const { name, backend, plan, driver, checkpoint, graph, tokenizer, sampling, executable, maxRows } = parts;
  const scheduler = createScheduler(executable, driver, maxRows);
  const generate = createGenerator(
    scheduler,
    driver,
    tokenizer,
    sampling,
    executable.kv.layout.capacity,
    graph.config.vocabularySize,
  );
  const model = {
    name,
    architecture: checkpoint.architecture,
    parameters: checkpoint.parameters,
    file: path.basename(checkpoint.path),
    quantization: commonType(checkpoint),
  };
  let disposed: Promise<void> | undefined;
  const dispose = () =>
    (disposed ??= (async () => {
      scheduler.dispose();
      await driver.settle('dispose', 'backward');
      await executable.dispose();
      await checkpoint.close();
    })());
  return {
    tokenizer,
    graph,
    plan,
    model,
    sampling,
    generate: (prompt, options = {}) => generate(prompt, options, () => {}),
    stream: (prompt, options = {}) =>
      createStream((push, signal) => generate(prompt, { ...options, signal }, push), options.signal),
    chat: (messages, options = {}) =>
      createStream(
        async (push, signal) => generate(tokenizer.encodeChat(messages), { ...options, signal }, push),
        options.signal,
      ),
    forward: (batch) => scheduler.forward(batch),
    acquireSlot: () => executable.kv.acquire(),
    releaseSlot: (slot) => executable.kv.release(slot),
    describe: () => describePipeline({ model, backend, plan, graph, memory: executable.memory(), kv: executable.kv }),
    memory: () => executable.memory(),
    profile: () => executable.profile(),
    metrics: () => ({ ...scheduler.metrics(), ...driver.merge('metrics') }),
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}

/** Names all that keys and values depend on. */
const kvKey = (checksum: string, plan: Plan, { name, settings }: Backend) =>
  JSON.stringify([checksum, plan.key, name, settings.precision ?? null, settings.kv ?? null]);

/** Parameters that plugins made or rewrote depend on all that the plan names; packed weights must not be taken for others. */
function nameRewrittenParams(graph: Graph, base: Graph, plan: Plan): Graph {
  const rewritten = [...graph.params].filter(([name, param]) => base.params.get(name) !== param);
  return withParams(
    graph,
    rewritten.map(([name, param]) => [name, { ...param, key: `${param.key} by ${plan.key}` }]),
  );
}

function backendOf(backend: NonNullable<PipelineOptions['backend']>): Backend {
  if (backend === 'wasm') return wasm();
  if (backend === 'reference') return reference();
  if (typeof backend === 'object') return backend;
  throw new LlmoptError('LLMOPT_OPTION_INVALID', `There is no backend "${String(backend)}".`, {
    hint: 'Use "wasm", "reference" or a backend object.',
  });
}

function checkSizes(options: PipelineOptions) {
  const { slots = 4, maxRows = 128, contextLength } = options;
  for (const [name, value, largest] of [
    ['slots', slots, 1024],
    ['maxRows', maxRows, 4096],
    ['contextLength', contextLength ?? 1, 16_777_216],
  ] as const) {
    if (!Number.isInteger(value) || value < 1 || value > largest) {
      throw new LlmoptError(
        'LLMOPT_OPTION_INVALID',
        `${name} is ${value}; a whole number from 1 to ${largest} is allowed.`,
      );
    }
  }
  return { slots, maxRows, contextLength };
}

async function openModel(
  { model, onProgress, signal }: PipelineOptions,
  cacheDir: string | undefined,
): Promise<Checkpoint> {
  if (typeof model !== 'string') return model;
  return openCheckpoint(await resolveModel(model, { cacheDir, onProgress, signal }), { cacheDir: cacheDir ?? false });
}

/** The tensor type that most parameters have. */
function commonType(checkpoint: Checkpoint): string {
  const counts = new Map<string, number>();
  for (const { type, shape } of checkpoint.tensors.values()) {
    counts.set(type, (counts.get(type) ?? 0) + shape.reduce((product, size) => product * size, 1));
  }
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 'unknown';
}

function refuseOldNode(): void {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor >= OLDEST_NODE[1])) return;
  throw new LlmoptError('LLMOPT_NODE_VERSION', `Node.js ${process.versions.node} is too old.`, {
    hint: `Install ${OLDEST_NODE.join('.')} or later.`,
  });
}

function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new LlmoptError('LLMOPT_ABORTED', 'Loading was aborted.', { cause: signal.reason });
}
