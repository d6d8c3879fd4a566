import type { Backend, Batch, ForwardResult, MemoryReport, Profile } from '../backends/backend.ts';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { SamplingDefaults } from '../checkpoint/generationConfig.ts';
import type { Graph } from '../graph/graph.ts';
import type { Plan } from '../plugin/plan.ts';
import type { Plugin } from '../plugin/plugin.ts';
import type { ChatMessage, Tokenizer } from '../tokenizer/tokenizer.ts';

/** What is happening while a model loads: a stage, and how far it is, from 0 to 1. */
export interface Progress {
  stage: 'download' | 'verify' | 'pack' | 'load';
  fraction: number;
  /** File or tensor at work. */
  detail?: string;
}

export interface PipelineOptions {
  /**
   * A path to a GGUF file or to a folder with `config.json` and safetensors, a name from the catalogue such as `smollm2-135m`, a
   * model on the Hugging Face hub (`owner/name`, `owner/name@revision`, `owner/name/file.gguf`), or an open checkpoint.
   */
  model: string | Checkpoint;
  /** Default `'wasm'`: int8 weights on all cores. Call `wasm({...})` or `reference()` for options. */
  backend?: 'wasm' | 'reference' | Backend;
  plugins?: readonly Plugin[];
  /** Sequences that can be in memory at once. Default 4, or as many as fit beside the weights. */
  slots?: number;
  /** Tokens per sequence. Default: what the model was trained for. */
  contextLength?: number;
  /** Rows per forward: a prompt is cut in chunks of at most this. Default 128. */
  maxRows?: number;
  /** Where downloads and packed weights are kept. Default: the user's cache folder. `false` keeps nothing packed. */
  cacheDir?: string | false;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
}

/** What is not given is what the model's `generation_config.json` says, and else the default that is named here. */
export interface SamplingOptions {
  /** 0 is greedy: the most likely token. Default 0. */
  temperature?: number;
  /** Keep the k most likely tokens; 0 keeps all. Default 0. */
  topK?: number;
  /** Keep the smallest set of tokens that holds this probability. Default 1. */
  topP?: number;
  /** Drop tokens less likely than this share of the most likely one. Default 0. */
  minP?: number;
  /** Divide the logits of tokens already in the sequence by this. Default 1. */
  repetitionPenalty?: number;
  /** Same seed, same text. Default 0. */
  seed?: number;
}

export interface GenerateOptions extends SamplingOptions {
  /** Default 256. */
  maxNewTokens?: number;
  /** End when the text holds one of these; it is cut off in front of it. */
  stop?: readonly string[];
  /** Go on past the end token, for timing. Default false. */
  ignoreEndToken?: boolean;
  /** Return the log-probability of each token and of this many alternatives. Default: none. */
  logProbs?: number;
  signal?: AbortSignal;
}

export type FinishReason = 'endToken' | 'stopString' | 'length' | 'contextFull';

export interface TokenLogProb {
  token: number;
  /** Natural logarithm of the probability before sampling rules. */
  logProb: number;
  top: { token: number; logProb: number }[];
}

export interface Timings {
  /** From the call to the first token. */
  timeToFirstTokenMs: number;
  /** Mean gap between tokens after the first; NaN with fewer than two tokens. */
  timePerOutputTokenMs: number;
  prefillTokensPerSecond: number;
  totalMs: number;
  /** When each token came, from the call. */
  tokenTimesMs: number[];
}

export interface GenerateResult {
  text: string;
  tokens: number[];
  finishReason: FinishReason;
  usage: { inputTokens: number; outputTokens: number; totalTokens: number };
  timings: Timings;
  logProbs?: TokenLogProb[];
}

/** A text in the making. Iterate it for the pieces; `result` settles at the end. Leaving the loop aborts it. */
export interface TextStream extends AsyncIterable<string> {
  readonly result: Promise<GenerateResult>;
}

export interface Pipeline {
  readonly tokenizer: Tokenizer;
  readonly graph: Graph;
  readonly plan: Plan;
  /** Model facts for reports. */
  readonly model: { name: string; architecture: string; parameters: number; file: string; quantization: string };
  /** What the model's `generation_config.json` sets where the options of a generation do not. */
  readonly sampling: SamplingDefaults;
  /** Continue a prompt: text, or token ids. An abort rejects with LLMOPT_ABORTED. */
  generate(prompt: string | readonly number[], options?: GenerateOptions): Promise<GenerateResult>;
  stream(prompt: string | readonly number[], options?: GenerateOptions): TextStream;
  /** Answer a conversation, formatted by the model's own chat template. */
  chat(messages: readonly ChatMessage[], options?: GenerateOptions): TextStream;
  /** One forward between the steps of running streams; what comes back is the caller's own copy. */
  forward(batch: Batch): Promise<ForwardResult>;
  /** Take a slot for `forward`; undefined when all are taken. Give it back with `releaseSlot`. */
  acquireSlot(): number | undefined;
  releaseSlot(slot: number): void;
  /** Plan, graph and memory as text. */
  describe(): string;
  memory(): MemoryReport;
  /** Time per op since `profile: true` was given to the backend; undefined without it. */
  profile(): Profile | undefined;
  /** Figures of the scheduler and of plugins, by name. */
  metrics(): Readonly<Record<string, number>>;
  dispose(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
