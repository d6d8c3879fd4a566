import type { Batch, GenerateOptions, GenerateResult, Pipeline, Tokenizer } from '@llmopt/core';

/** A tokenizer of single ASCII characters. */
export const characterTokenizer = {
  vocabularySize: 128,
  checksum: 'characters',
  bosToken: undefined,
  eosToken: undefined,
  stopTokens: new Set<number>(),
  encode: (text: string) => Array.from(text, (character) => character.charCodeAt(0) % 128),
  decode: (ids: Iterable<number>) => String.fromCharCode(...ids),
  bytes: (id: number) => Uint8Array.of(id),
  encodeChat: (messages: readonly { content: string }[]) =>
    characterTokenizer.encode(messages.map(({ content }) => `<${content}>`).join('')),
};

export interface FakeOptions {
  name?: string;
  /** Logits of a row, `[vocabulary]`, from its token and position. Default: all equal. */
  logits?: (token: number, position: number) => ArrayLike<number>;
  tokenizer?: Partial<Tokenizer>;
  contextLength?: number;
  /** Milliseconds that a token takes. Default 1. */
  millisecondsPerToken?: number;
  onForward?: (batch: Batch) => void;
}

/** A pipeline without a model: it writes the letter `a`, and its logits are what the test says. */
export function fakePipeline(
  options: FakeOptions = {},
): Pipeline & { freeSlots: () => number; disposed: () => boolean } {
  const tokenizer = { ...characterTokenizer, ...options.tokenizer } as Tokenizer;
  const milliseconds = options.millisecondsPerToken ?? 1;
  const vocabulary = tokenizer.vocabularySize;
  let freeSlots = 1;
  let length = 0;
  let steps = 0;
  let disposed = false;

  const generate = async (
    prompt: string | readonly number[],
    { maxNewTokens = 256 }: GenerateOptions = {},
  ): Promise<GenerateResult> => {
    const inputTokens = prompt.length;
    steps += maxNewTokens;
    return {
      text: 'a'.repeat(maxNewTokens),
      tokens: Array(maxNewTokens).fill(97),
      finishReason: 'length',
      usage: { inputTokens, outputTokens: maxNewTokens, totalTokens: inputTokens + maxNewTokens },
      timings: {
        timeToFirstTokenMs: milliseconds * inputTokens,
        timePerOutputTokenMs: milliseconds,
        prefillTokensPerSecond: 1000 / milliseconds,
        totalMs: milliseconds * (inputTokens + maxNewTokens - 1),
        tokenTimesMs: [],
      },
    };
  };

  const pipeline = {
    tokenizer,
    graph: { config: { contextLength: options.contextLength ?? 1024 }, params: new Map(), ops: [], logits: 'logits' },
    plan: { backend: 'fake', plugins: [] },
    model: {
      name: options.name ?? 'fake',
      architecture: 'fake',
      parameters: 1000,
      file: 'fake.gguf',
      quantization: 'F32',
    },
    generate,
    async forward(batch: Batch) {
      options.onForward?.(batch);
      const rows = Array.from(batch.logits);
      const logits = new Float32Array(rows.length * vocabulary);
      for (const [index, row] of rows.entries()) {
        const position = batch.positions[row] as number;
        if (position !== length + row) throw new Error(`position ${position} does not go on at ${length + row}`);
        logits.set(options.logits?.(batch.tokens[row] as number, position) ?? [], index * vocabulary);
      }
      length += batch.tokens.length;
      steps++;
      return { logits, values: {} };
    },
    acquireSlot: () => {
      if (freeSlots === 0) return undefined;
      freeSlots--;
      length = 0;
      return 0;
    },
    releaseSlot: () => {
      freeSlots++;
    },
    describe: () => 'a fake',
    memory: () => ({
      weightsBytes: 0,
      activationsBytes: 0,
      kv: { reservedBytes: 0, committedBytes: 4096, liveBytes: 64 },
    }),
    profile: () => ({
      steps,
      stepMilliseconds: steps,
      entries: [{ kind: 'linear', layer: 0, milliseconds: steps * 0.95 }],
      kernels: [],
    }),
    metrics: () => ({}),
    dispose: async () => {
      disposed = true;
    },
    freeSlots: () => freeSlots,
    disposed: () => disposed,
  };
  return pipeline as unknown as Pipeline & { freeSlots: () => number; disposed: () => boolean };
}

/** The same as a loaded arm. */
export function fakeArm(options: FakeOptions = {}) {
  return { pipeline: fakePipeline(options), backend: { threads: 1 } };
}
