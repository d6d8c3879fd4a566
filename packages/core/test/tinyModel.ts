import type { TypedMetadata } from '../src/checkpoint/gguf/metadataBytes.ts';
import { type TensorToWrite, writeGguf } from '../src/checkpoint/gguf/write.ts';
import type { WritableType } from '../src/checkpoint/quantize/encode.ts';

export interface TinyModelOptions {
  /** Default 1. */
  seed?: number;
  /** Default 2. */
  layers?: number;
  /** Default 64. */
  width?: number;
  /** Default 4; a head is `width / heads` wide. */
  heads?: number;
  /** Default 2. */
  kvHeads?: number;
  /** Default 128. */
  ffn?: number;
  /** Default 256. */
  context?: number;
  /** Type of the matrices; norms are F32. Default F32. */
  type?: WritableType;
  /** Give the head a matrix of its own. Default false: the embedding is the head too. */
  untied?: boolean;
  /** Metadata to add or to replace; `undefined` removes a field. */
  metadata?: Record<string, TypedMetadata | undefined>;
  /** Names of tensors to leave out. */
  without?: readonly string[];
}

/** Ids 0, 1, 2 of the tiny tokenizer. */
export const tinySpecialTokens = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'] as const;

/** Merges of the tiny tokenizer, in the order of their rank; Ġ stands for a space, as byte-level BPE writes it. */
export const tinyMerges: readonly string[] = [
  'Ġ t|h e|i n|Ġ a|r e|o n|Ġt he|e r|Ġ s|a t|Ġ w|o u|e n|Ġ o|i t|n d',
  'e s|o r|Ġ Ġ|in g|Ġa nd|l l|he ll|hell o|o f|Ġw or|l d|Ġwor ld',
].flatMap((pairs) => pairs.split('|'));

export const tinyChatTemplate =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/**
 * The 256 characters that stand for the bytes 0-255 in byte-level BPE: visible characters of Latin-1 stand for
 * themselves, the others are moved to U+0100 and up, in order.
 */
export function byteSymbols(): string[] {
  const visible = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let moved = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(visible(byte) ? byte : 256 + moved++));
}

/**
 * Writes a small Llama model with random weights that depend on the seed alone, and a byte-level BPE tokenizer:
 * 3 special tokens, 256 bytes, then one token per merge. Resolves to `path`.
 */
export async function writeTinyModel(path: string, options: TinyModelOptions = {}): Promise<string> {
  const { type = 'F32', untied = false, without = [], metadata = {} } = options;
  const sizes = { layers: 2, width: 64, heads: 4, kvHeads: 2, ffn: 128, context: 256, ...options };
  const { layers, width, heads, kvHeads, ffn } = sizes;
  const tokens = [...tinySpecialTokens, ...byteSymbols(), ...tinyMerges.map((pair) => pair.replace(' ', ''))];
  const kvWidth = (width / heads) * kvHeads;
  const normal = normals(options.seed ?? 1);

  const tensors: TensorToWrite[] = [];
  const add = (name: string, shape: number[], mean: number, deviation: number) => {
    const values = Float32Array.from(
      { length: shape.reduce((product, size) => product * size, 1) },
      () => mean + deviation * normal(),
    );
    const matrixType = type === 'Q8_0' && shape.at(-1)! % 32 !== 0 ? 'F16' : type;
    const tensor: TensorToWrite = {
      name: `${name}.weight`,
      shape,
      type: shape.length === 1 ? 'F32' : matrixType,
      read: async () => values,
    };
    if (!without.includes(tensor.name)) tensors.push(tensor);
  };
  const matrix = (name: string, outputs: number, inputs: number) =>
    add(name, [outputs, inputs], 0, 1 / Math.sqrt(inputs));
  const norm = (name: string) => add(name, [width], 1, 0.1);

  add('token_embd', [tokens.length, width], 0, 0.3);
  for (let layer = 0; layer < layers; layer++) {
    norm(`blk.${layer}.attn_norm`);
    matrix(`blk.${layer}.attn_q`, width, width);
    matrix(`blk.${layer}.attn_k`, kvWidth, width);
    matrix(`blk.${layer}.attn_v`, kvWidth, width);
    matrix(`blk.${layer}.attn_output`, width, width);
    norm(`blk.${layer}.ffn_norm`);
    matrix(`blk.${layer}.ffn_gate`, ffn, width);
    matrix(`blk.${layer}.ffn_up`, ffn, width);
    matrix(`blk.${layer}.ffn_down`, width, ffn);
  }
  norm('output_norm');
  if (untied) add('output', [tokens.length, width], 0, 0.3);

  const fields = new Map<string, TypedMetadata>([...modelMetadata(sizes, type), ...tokenizerMetadata(tokens)]);
  for (const [key, entry] of Object.entries(metadata)) {
    if (entry) fields.set(key, entry);
    else fields.delete(key);
  }
  await writeGguf(path, { metadata: fields, tensors });
  return path;
}

function modelMetadata(
  sizes: { layers: number; width: number; heads: number; kvHeads: number; ffn: number; context: number },
  type: WritableType,
): [string, TypedMetadata][] {
  const count = (key: string, value: number): [string, TypedMetadata] => [key, { type: 'uint32', value }];
  return [
    ['general.architecture', { type: 'string', value: 'llama' }],
    ['general.name', { type: 'string', value: 'Tiny' }],
    count('general.file_type', { F32: 0, F16: 1, Q8_0: 7 }[type]),
    count('llama.block_count', sizes.layers),
    count('llama.context_length', sizes.context),
    count('llama.embedding_length', sizes.width),
    count('llama.feed_forward_length', sizes.ffn),
    count('llama.attention.head_count', sizes.heads),
    count('llama.attention.head_count_kv', sizes.kvHeads),
    ['llama.attention.layer_norm_rms_epsilon', { type: 'float32', value: 1e-5 }],
    ['llama.rope.freq_base', { type: 'float32', value: 10_000 }],
    count('llama.rope.dimension_count', sizes.width / sizes.heads),
    count('llama.vocab_size', tinySpecialTokens.length + 256 + tinyMerges.length),
  ];
}

function tokenizerMetadata(tokens: readonly string[]): [string, TypedMetadata][] {
  const control = 3;
  const normalType = 1;
  return [
    ['tokenizer.ggml.model', { type: 'string', value: 'gpt2' }],
    ['tokenizer.ggml.pre', { type: 'string', value: 'smollm' }],
    ['tokenizer.ggml.tokens', { type: 'string[]', value: tokens }],
    [
      'tokenizer.ggml.token_type',
      { type: 'int32[]', value: tokens.map((_, id) => (id < tinySpecialTokens.length ? control : normalType)) },
    ],
    ['tokenizer.ggml.merges', { type: 'string[]', value: tinyMerges }],
    ['tokenizer.ggml.bos_token_id', { type: 'uint32', value: 1 }],
    ['tokenizer.ggml.eos_token_id', { type: 'uint32', value: 2 }],
    ['tokenizer.ggml.unknown_token_id', { type: 'uint32', value: 0 }],
    ['tokenizer.ggml.padding_token_id', { type: 'uint32', value: 2 }],
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: false }],
    ['tokenizer.ggml.add_space_prefix', { type: 'bool', value: false }],
    ['tokenizer.chat_template', { type: 'string', value: tinyChatTemplate }],
  ];
}

/** Standard normal numbers (Box-Muller) over a 32-bit generator whose state is a counter mixed by multiplications. */
function normals(seed: number): () => number {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    return (((mixed ^ (mixed >>> 16)) >>> 0) + 0.5) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}
