/**
 * Every error code this project throws, with what it means. A code is stable: callers may switch on it.
 */
export const errorCatalogue = {
  LLMOPT_FILE_NOT_FOUND: 'A file that was named does not exist or cannot be read.',
  LLMOPT_FILE_CHANGED: 'A file changed while it was in use.',
  LLMOPT_WRITE_FAILED: 'A file or folder cannot be written.',
  LLMOPT_GGUF_INVALID: 'A GGUF file is truncated, corrupted or hostile.',
  LLMOPT_GGUF_UNSUPPORTED: 'A GGUF file is sound but uses a version or tensor type that is not supported.',
  LLMOPT_SAFETENSORS_INVALID: 'A safetensors file or index is truncated, corrupted or hostile.',
  LLMOPT_SAFETENSORS_UNSUPPORTED: 'A safetensors file is sound but holds a tensor of a type that cannot be read.',
  LLMOPT_JSON_INVALID: 'A JSON file of a model is truncated, corrupted or not what it should be.',
  LLMOPT_TENSOR_MISSING: 'The checkpoint lacks a tensor that the architecture needs.',
  LLMOPT_TENSOR_SHAPE: 'A tensor has another shape than the architecture needs.',
  LLMOPT_METADATA_MISSING: 'The checkpoint lacks a metadata field that is needed.',
  LLMOPT_METADATA_INVALID: 'A metadata field of the checkpoint has a value that makes no sense.',
  LLMOPT_ARCHITECTURE_UNKNOWN: 'No architecture of this name is known.',
  LLMOPT_ARCHITECTURE_UNSUPPORTED: 'The model is a variant of a known architecture that is not supported.',
  LLMOPT_MODEL_NOT_FOUND: 'A model name resolves to nothing.',
  LLMOPT_ACCESS_DENIED: 'The hub refuses to give a model: it is private or gated, or does not exist.',
  LLMOPT_OFFLINE: 'A model is not in the cache, and HF_HUB_OFFLINE forbids to download it.',
  LLMOPT_DOWNLOAD_FAILED: 'A download failed, was cut, or delivered something else.',
  LLMOPT_CHECKSUM_MISMATCH: 'A file does not have the expected checksum or size.',
  LLMOPT_TOKENIZER_INVALID: 'The tokenizer data of a checkpoint is missing, broken or of an unknown kind.',
  LLMOPT_TOKEN_INVALID: 'A token id lies outside the vocabulary.',
  LLMOPT_CHAT_TEMPLATE: 'A chat template is missing, fails, takes too long or writes too much.',
  LLMOPT_OPTION_INVALID: 'An option has a value that is not allowed.',
  LLMOPT_PROMPT_EMPTY: 'The prompt holds no token.',
  LLMOPT_PROMPT_TOO_LONG: 'The prompt does not fit in the context.',
  LLMOPT_GRAPH_INVALID: 'A graph is inconsistent: an unknown value, a shape that does not fit, an op used wrongly.',
  LLMOPT_PLAN: 'The plugins, the backend and the model do not fit together; all problems are listed.',
  LLMOPT_PLUGIN_FAILED: 'A plugin threw; the error names plugin and hook.',
  LLMOPT_BATCH_INVALID: 'A batch is inconsistent: lengths, slots, positions or rows.',
  LLMOPT_SLOTS_EXHAUSTED: 'Every slot of the KV cache is taken.',
  LLMOPT_KV_FULL: 'A sequence has reached the end of its slot.',
  LLMOPT_KV_BUDGET: 'The byte budget of the KV cache does not allow for what was asked.',
  LLMOPT_KV_MEMORY: 'The system did not take back memory of the KV cache.',
  LLMOPT_KV_FILE: 'A file with a saved sequence is truncated, corrupted, or of another model or version.',
  LLMOPT_BUSY: 'A forward is already running on this executable.',
  LLMOPT_DISPOSED: 'The object was disposed before this call.',
  LLMOPT_CALIBRATION_INVALID: 'A calibration artefact is truncated, corrupted or something else.',
  LLMOPT_CALIBRATION_VERSION: 'A calibration artefact is of a version that is not supported.',
  LLMOPT_CALIBRATION_MODEL: 'A calibration artefact was made for another model.',
  LLMOPT_CALIBRATION_TOO_SHORT: 'A calibration has seen too few tokens, or its text holds too few.',
  LLMOPT_ABORTED: 'The call was aborted by its signal.',
  LLMOPT_OUT_OF_MEMORY: 'The WebAssembly memory, or the GPU, cannot hold what was asked for.',
  LLMOPT_PACKAGE_MISSING: 'An optional package that is needed is not installed, or cannot be loaded.',
  LLMOPT_PROVIDER_MISSING: 'A device or execution provider that was asked for is not there.',
  LLMOPT_GPU_FAILED: 'The GPU was lost, or did not do what it was told to.',
  LLMOPT_WORKER_DIED: 'A worker thread ended unexpectedly; the executable cannot be used any more.',
  LLMOPT_CONFORMANCE: 'A backend or a kernel computes something else than the reference.',
  LLMOPT_ENGINE_FAILED: 'The engine behind a backend failed to load or to run a model.',
  LLMOPT_NODE_VERSION: 'This Node.js version is too old.',
  LLMOPT_RESULT_INVALID: 'A benchmark result file does not follow the schema.',
  LLMOPT_BENCH_FAILED: 'An arm of the benchmark failed.',
  LLMOPT_REGRESSION: 'A benchmark result is worse than the limit that was given.',
} as const;

export type ErrorCode = keyof typeof errorCatalogue;

export interface ErrorDetails {
  /** What to do about it, as one sentence. Appended to the message. */
  hint?: string;
  /** Where it happened: file, tensor, plugin, hook, op, layer, offset, ... */
  where?: Readonly<Record<string, string | number>>;
  /** Single problems, where one error reports several. */
  problems?: readonly string[];
  cause?: unknown;
}

const mark = Symbol.for('llmopt.error');

/** The one error class. `code` is stable; `message` says what was wrong, where, and what to do. */
export class LlmoptError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly where: Readonly<Record<string, string | number>>;
  readonly problems: readonly string[];

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    const list = (details.problems ?? []).map((problem) => `\n  - ${problem}`).join('');
    super(`${message}${list}${details.hint ? `${list ? '\n' : ' '}${details.hint}` : ''}`, { cause: details.cause });
    this.name = 'LlmoptError';
    this.code = code;
    this.hint = details.hint;
    this.where = details.where ?? {};
    this.problems = details.problems ?? [];
    Object.defineProperty(this, mark, { value: true });
  }

  /** True for errors of this project, also across duplicate installs of the package. */
  static isInstance(error: unknown): error is LlmoptError {
    return typeof error === 'object' && error !== null && mark in error;
  }
}
