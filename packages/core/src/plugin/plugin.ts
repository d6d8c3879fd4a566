import type { Capability } from '../backends/backend.ts';
import type { Graph } from '../graph/graph.ts';
import type { KvCacheProvider } from '../kv/kvCache.ts';
import type { GenerateOptions, GenerateResult } from '../pipeline/types.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';

/** Resources that only one plugin can have. */
export type Claim = 'kvCache' | 'residualBasis' | 'vocabulary';

/** What a plugin changes: nothing in the output, the numbers, or the tokens themselves. */
export type Fidelity = 'exact' | 'approximate' | 'vocabulary';

/** One sequence while it runs. */
export interface Sequence {
  /** Number of this request within its pipeline. */
  readonly id: number;
  /** Prompt and output so far. */
  readonly tokens: readonly number[];
  readonly promptLength: number;
}

export interface StepEvent {
  /** Rows of the batch. */
  readonly rows: number;
  readonly milliseconds: number;
}

/** A request on its way through `generate`. Only the prompt can be rewritten; the caller's options stay. */
export interface GenerateRequest {
  readonly prompt: readonly number[];
  readonly options: Readonly<GenerateOptions>;
}

/** Every hook, by name. What kind each is stands in `hooks`. */
export interface Hooks {
  /** Wrap the tokenizer. */
  tokenizer(tokenizer: Tokenizer): Tokenizer | Promise<Tokenizer>;
  /** Rewrite the graph: return a new one. */
  graph(graph: Graph): Graph | Promise<Graph>;
  /** Provide the KV cache. Needs the claim `kvCache`. */
  kvCache: KvCacheProvider;
  /** The pipeline is ready. */
  ready(): void | Promise<void>;
  /** Change a row of logits in place, before sampling. */
  logits(logits: Float32Array, sequence: Sequence): void;
  /** A token was chosen. */
  token(token: number, sequence: Sequence): void;
  /** Wrap a whole request. */
  generate(
    request: GenerateRequest,
    next: (request: GenerateRequest) => Promise<GenerateResult>,
  ): Promise<GenerateResult>;
  sequenceStart(sequence: Sequence): void;
  prefillEnd(sequence: Sequence): void;
  step(event: StepEvent): void;
  sequenceEnd(sequence: Sequence): void;
  /** Own figures for reports, by name. */
  metrics(): Readonly<Record<string, number>>;
  dispose(): void | Promise<void>;
}

/** An optimisation, or anything else that takes part in a pipeline: a plain object, made by a factory. */
export interface Plugin extends Partial<Hooks> {
  readonly name: string;
  readonly version: string;
  /** Options and artefact checksums that the outcome depends on; part of cache keys and reports. */
  readonly options?: Readonly<Record<string, unknown>>;
  readonly fidelity: Fidelity;
  /** Names of plugins that must come before or after this one, if they are there. */
  readonly after?: readonly string[];
  readonly before?: readonly string[];
  readonly claims?: readonly Claim[];
  readonly requires?: readonly Capability[];
}

/** Helper for type inference: returns the plugin as it is, frozen. */
export function definePlugin<P extends Plugin>(plugin: P): Readonly<P> {
  return Object.freeze(plugin);
}
