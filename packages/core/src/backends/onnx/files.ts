import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { writeAtomically } from '../../checkpoint/atomicFile.ts';
import { LlmoptError } from '../../errors.ts';
import type { Graph, Param } from '../../graph/graph.ts';
import type { Progress } from '../../pipeline/types.ts';
import { byteLengthOf, encodeModel, isBytes, opset, paramBytes } from './encode.ts';
import { buildModel, type ModelOptions, type OnnxModel } from './model.ts';
import { writeParam, writeParts } from './write.ts';

/** What a protobuf message can hold at most. */
const MAX_MODEL_BYTES = 2 ** 31 - 1;
// Below this a weight stays in the model's own file.
const MIN_EXTERNAL_BYTES = 1024;
// Weights begin where a page does, so that runtimes can map them.
const PAGE = 4096;
/** Raised whenever the same graph gives other bytes. */
const version = 1;

interface WriteOptions {
  onProgress?: ((progress: Progress) => void) | undefined;
  signal?: AbortSignal | undefined;
}

export interface ExportOnnxOptions extends WriteOptions {
  /** Positions that a sequence may have. Default: what the model was trained for. */
  contextLength?: number;
  /** Keep the weights in a file of their own, `<path>_data`. Default: only if the model exceeds the 2 GB that one file may have. */
  externalData?: boolean;
  /**
   * Take the rows that want logits as one more input, `logit_rows` int64 `[n]`, and give logits only for these, `[n, vocabulary]`.
   * Rows are numbered through all sequences. Where an op treats the rows of prompts in another way, `prompt_rows` float32 `[rows, 1]` says
   * which these are (1); without `selectRows` none is. Default false: logits for all, as transformers.js expects.
   */
  selectRows?: boolean;
  /** Values of the graph that become outputs too, as `values.<name>`, `[rows, width]`; channel lists are 1 for alive and 0. Default: none. */
  values?: readonly string[];
}

export interface OnnxFiles {
  /** Version of the standard's operators. */
  readonly opset: number;
  /** The model, then the file of its weights if there is one. */
  readonly files: readonly string[];
  /** Of all files. */
  readonly byteLength: number;
}

/**
 * Writes a graph, rewritten by plugins or not, as a standard ONNX model in float32: opset 17, no operators but the standard's. Inputs
 * `input_ids`, `attention_mask`, `position_ids` and `past_key_values.<layer>.key|value` `[batch, kvHeads, past, headDim]`, outputs
 * `logits` `[batch, sequence, vocabulary]` and `present.<layer>.key|value`: what transformers.js and Optimum name them. The files get
 * their names when they are complete, the weights first.
 * @throws LLMOPT_PLAN for an op without an ONNX kernel, LLMOPT_GRAPH_INVALID, LLMOPT_OPTION_INVALID, LLMOPT_WRITE_FAILED,
 * LLMOPT_ABORTED, and what reading the parameters throws
 */
export async function exportOnnx(graph: Graph, path: string, options: ExportOnnxOptions = {}): Promise<OnnxFiles> {
  const { contextLength = graph.config.contextLength, externalData = false, selectRows = false, values = [] } = options;
  if (!Number.isInteger(contextLength) || contextLength < 1) {
    throw new LlmoptError(
      'LLMOPT_OPTION_INVALID',
      `contextLength is ${contextLength}; a whole number from 1 on is allowed.`,
    );
  }
  const model = buildModel(graph, { contextLength, selectRows, values });
  const inline = encodeModel(model, () => undefined);
  if (!externalData && byteLengthOf(inline) <= MAX_MODEL_BYTES) {
    const written = progressOf(byteLengthOf(inline), options);
    await writeAtomically(path, (file) => writeParts(file, inline, written));
    return { opset, files: [path], byteLength: byteLengthOf(inline) };
  }
  const data = layOut(model);
  const dataPath = `${path}_data`;
  const parts = encodeModel(model, data.placeIn(dataPath));
  const byteLength = byteLengthOf(parts) + data.byteLength;
  const written = progressOf(byteLength, options);
  await writeAtomically(path, async (file) => {
    await writeParts(file, parts, written);
    await writeData(dataPath, data, written);
  });
  return { opset, files: [path, dataPath], byteLength };
}

/**
 * The same with the weights in a file of their own, in a folder where files are named by what is in them: what is there already is
 * not written again. `modelKey` names all that the parameters depend on outside the graph.
 */
export async function cacheOnnx(
  graph: Graph,
  folder: string,
  modelKey: string,
  modelOptions: ModelOptions,
  options: WriteOptions,
): Promise<{ path: string; weightsBytes: number }> {
  const model = buildModel(graph, modelOptions);
  const data = layOut(model);
  const dataPath = path.join(folder, `${hash([modelKey, data.key])}.onnx_data`);
  const parts = encodeModel(model, data.placeIn(dataPath));
  const modelPath = path.join(
    folder,
    `${hash([modelKey, ...parts.map((part) => (isBytes(part) ? part : part.key))])}.onnx`,
  );
  const hasData = await hasSize(dataPath, data.byteLength);
  const hasModel = await hasSize(modelPath, byteLengthOf(parts));
  const written = progressOf((hasData ? 0 : data.byteLength) + (hasModel ? 0 : byteLengthOf(parts)), options);
  if (!hasData) await writeData(dataPath, data, written);
  if (!hasModel) await writeAtomically(modelPath, (file) => writeParts(file, parts, written));
  return { path: modelPath, weightsBytes: data.byteLength };
}

interface DataFile {
  readonly sections: readonly { param: Param; offset: number }[];
  readonly byteLength: number;
  /** Names all that its bytes depend on, within the model. */
  readonly key: string;
  placeIn(path: string): Parameters<typeof encodeModel>[1];
}

function layOut(model: OnnxModel): DataFile {
  const sections: { param: Param; offset: number }[] = [];
  const offsets = new Map<string, number>();
  const known = new Map<string, number>();
  let byteLength = 0;
  for (const [tensor, param] of model.params) {
    if (paramBytes(param) < MIN_EXTERNAL_BYTES) continue;
    // Equal keys have equal numbers.
    const same = known.get(param.key);
    const offset = same ?? Math.ceil(byteLength / PAGE) * PAGE;
    offsets.set(tensor, offset);
    if (same !== undefined) continue;
    known.set(param.key, offset);
    sections.push({ param, offset });
    byteLength = offset + paramBytes(param);
  }
  return {
    sections,
    byteLength,
    key: JSON.stringify(sections.map(({ param, offset }) => [param.shape, param.key, offset])),
    placeIn: (file) => (tensor) => {
      const offset = offsets.get(tensor);
      return offset === undefined ? undefined : { location: path.basename(file), offset };
    },
  };
}

async function writeData(dataPath: string, { sections }: DataFile, written: (bytes: number) => void): Promise<void> {
  await writeAtomically(dataPath, async (file) => {
    let at = 0;
    for (const { param, offset } of sections) {
      await file.write(Buffer.alloc(offset - at));
      written(offset - at);
      await writeParam(file, param, written);
      at = offset + paramBytes(param);
    }
  });
}

function progressOf(total: number, { onProgress, signal }: WriteOptions) {
  let done = 0;
  return (bytes: number) => {
    if (signal?.aborted)
      throw new LlmoptError('LLMOPT_ABORTED', 'Writing the model was aborted.', { cause: signal.reason });
    done += bytes;
    onProgress?.({ stage: 'pack', fraction: Math.min(1, done / total) });
  };
}

const hasSize = async (file: string, size: number) => (await stat(file).catch(() => undefined))?.size === size;

function hash(parts: readonly (string | Uint8Array)[]): string {
  const sum = createHash('sha256').update(`onnx ${version}`);
  for (const part of parts) sum.update(`${part.length} `).update(part);
  return sum.digest('hex');
}
