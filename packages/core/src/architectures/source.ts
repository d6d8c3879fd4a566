import type { Checkpoint, MetadataValue } from '../checkpoint/checkpoint.ts';
import { LlmoptError } from '../errors.ts';
import type { ModelConfig, Param } from '../graph/graph.ts';
import { checkShape } from './checkShape.ts';
import type { Fact, Formats, Names, TensorName } from './names.ts';
import { splitRows } from './splitRows.ts';

// Far above any real model, far below what would exhaust memory through a graph or a table alone.
const limits: Partial<Record<Fact, number>> = { layers: 1_000, contextLength: 16_777_216 };

/** A checkpoint as architectures see it: facts and tensors under names that no format knows. */
export interface Source {
  readonly config: ModelConfig;
  readonly pairing: Names['pairing'];
  /** A positive number; without a fallback it must be there. @throws LLMOPT_METADATA_MISSING, LLMOPT_METADATA_INVALID */
  number(fact: Fact, fallback?: number): number;
  /** The same, whole. @throws LLMOPT_METADATA_MISSING, LLMOPT_METADATA_INVALID */
  count(fact: Fact, fallback?: number): number;
  /** One of some words, as what it stands for. @throws LLMOPT_ARCHITECTURE_UNSUPPORTED for any other */
  choice<T>(fact: Fact, fallback: string, meanings: Readonly<Record<string, T>>): T;
  has(tensor: TensorName): boolean;
  /** Makes a tensor of this shape a parameter, and returns its name. @throws LLMOPT_TENSOR_MISSING, LLMOPT_TENSOR_SHAPE */
  param(tensor: TensorName, kind: 'weight' | 'bias', shape: readonly number[], layer?: number): string;
  /** All parameters that were made. @throws LLMOPT_ARCHITECTURE_UNSUPPORTED when the checkpoint has others that count */
  params(): ReadonlyMap<string, Param>;
}

/**
 * Reads the sizes that all decoders share, and looks for variants that would answer wrongly. No tensor is read.
 * @throws LLMOPT_METADATA_MISSING, LLMOPT_METADATA_INVALID, LLMOPT_ARCHITECTURE_UNSUPPORTED
 */
export function openSource(checkpoint: Checkpoint, formats: Formats): Source {
  const names = formats[checkpoint.format](checkpoint.architecture);
  refuseVariants(checkpoint, names);
  const facts = factReader(checkpoint, names);
  const nameOf = (tensor: TensorName, kind: 'weight' | 'bias', layer?: number) =>
    tensorName(names.tensors[tensor]!, kind, layer);
  const config = readConfig(checkpoint, facts, checkpoint.tensors.get(nameOf('embedded', 'weight'))?.shape[0]);
  const { tensors, read } = splitStacks(checkpoint, names, config);
  const params = new Map<string, Param>();
  return {
    config,
    pairing: names.pairing,
    ...facts,
    has: (tensor) => tensors.has(nameOf(tensor, 'weight')),
    param(tensor, kind, shape, layer) {
      const name = nameOf(tensor, kind, layer);
      checkShape({ ...checkpoint, tensors }, name, shape);
      params.set(name, { shape, key: name, read: (rows) => read(name, rows) });
      return name;
    },
    params() {
      for (const name of tensors.keys()) {
        if (params.has(name) || names.idle.test(name)) continue;
        const what = `it has a tensor "${name}", which ${checkpoint.architecture} has no use for`;
        throw unsupported(checkpoint, what, { tensor: name });
      }
      return params;
    },
  };
}

const tensorName = (pattern: string, kind: 'weight' | 'bias', layer?: number) =>
  `${pattern.replace('{layer}', String(layer))}.${kind}`;

function splitStacks(checkpoint: Checkpoint, { stacked, tensors }: Names, config: ModelConfig): Checkpoint {
  if (!stacked) return checkpoint;
  const rows = stacked.rows(config);
  const stack = (kind: 'weight' | 'bias', layer: number) => ({
    name: tensorName(stacked.name, kind, layer),
    parts: stacked.parts.map((part, i) => ({ name: tensorName(tensors[part]!, kind, layer), rows: rows[i]! })),
  });
  const layers = Array.from({ length: config.layers }, (_, layer) => [stack('weight', layer), stack('bias', layer)]);
  return splitRows(checkpoint, layers.flat());
}

type Facts = Pick<Source, 'number' | 'count' | 'choice'>;

function factReader(checkpoint: Checkpoint, names: Names): Facts {
  const find = (fact: Fact): { name: string; value: MetadataValue | undefined } => {
    const fields = names.facts[fact] ?? [];
    const name = fields.find((field) => checkpoint.metadata.has(field)) ?? fields[0] ?? fact;
    return { name, value: checkpoint.metadata.get(name) };
  };
  const invalid = (name: string, value: MetadataValue, expected: string) =>
    new LlmoptError(
      'LLMOPT_METADATA_INVALID',
      `"${name}" of ${checkpoint.path} is ${JSON.stringify(value)}; ${expected} was expected.`,
      { where: { file: checkpoint.path, field: name } },
    );
  function number(fact: Fact, fallback?: number): number {
    const { name, value = names.defaults[fact] ?? fallback } = find(fact);
    if (value === undefined) {
      throw new LlmoptError('LLMOPT_METADATA_MISSING', `${checkpoint.path} has no metadata field "${name}".`, {
        where: { file: checkpoint.path, field: name },
        hint: 'The file is incomplete; convert it again.',
      });
    }
    if (typeof value === 'number' && value > 0 && value <= (limits[fact] ?? 2 ** 31)) return value;
    throw invalid(name, value, 'a positive number in a sensible range');
  }
  return {
    number,
    count(fact, fallback) {
      const value = number(fact, fallback);
      if (Number.isInteger(value)) return value;
      throw invalid(find(fact).name, value, 'a whole number');
    },
    choice(fact, fallback, meanings) {
      const { name, value = fallback } = find(fact);
      if (typeof value === 'string' && Object.hasOwn(meanings, value)) return meanings[value]!;
      throw unsupported(checkpoint, `its "${name}" is ${JSON.stringify(value)}`, { field: name });
    },
  };
}

function readConfig(checkpoint: Checkpoint, { count }: Facts, embeddings: number | undefined): ModelConfig {
  const width = count('width');
  const heads = count('heads');
  const kvHeads = count('kvHeads', heads);
  if (heads % kvHeads !== 0) {
    throw new LlmoptError(
      'LLMOPT_METADATA_INVALID',
      `${checkpoint.path} has ${heads} heads, which cannot share ${kvHeads} KV heads evenly.`,
    );
  }
  return {
    architecture: checkpoint.architecture,
    layers: count('layers'),
    width,
    heads,
    kvHeads,
    headDim: count('headDim', width / heads),
    vocabularySize: embeddings ?? count('vocabularySize'),
    contextLength: count('contextLength'),
  };
}

function refuseVariants(checkpoint: Checkpoint, { variants }: Names): void {
  for (const { field, when, does } of variants) {
    // By their names: whoever asks for a list of a whole vocabulary has it unpacked.
    for (const name of checkpoint.metadata.keys()) {
      const named = typeof field === 'string' ? name === field : field.test(name);
      const value = named ? checkpoint.metadata.get(name) : undefined;
      if (value === undefined || !when(value, checkpoint.metadata)) continue;
      throw unsupported(checkpoint, `it ${does} ("${name}" is ${JSON.stringify(value)})`, { field: name });
    }
  }
}

function unsupported(checkpoint: Checkpoint, what: string, where: Readonly<Record<string, string>>): LlmoptError {
  return new LlmoptError(
    'LLMOPT_ARCHITECTURE_UNSUPPORTED',
    `${checkpoint.path} is a variant of ${checkpoint.architecture} that is not supported: ${what}.`,
    { where: { file: checkpoint.path, ...where }, hint: 'It would run and answer wrongly; use another model.' },
  );
}
