import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compile, forwardAlone, randomGraph } from '../../../test/backends.ts';
import { relativeError } from '../../../test/compare.ts';
import { withParams } from '../../graph/graph.ts';
import { reference } from '../reference/index.ts';
import { type ExportOnnxOptions, exportOnnx } from './index.ts';
import { ModelProtoSchema } from './onnx_pb.js';

const graph = randomGraph({ width: 72 });
const tokens = Array.from({ length: 12 }, (_, i) => (i * 17 + 5) % 101);
const { kvHeads, headDim, layers, vocabularySize } = graph.config;
// Sums of up to 80 terms.
const tolerance = 2e-5;

let folder: string;
let expected: Float32Array[];
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'llmopt-export-'));
  expected = await forwardAlone(await compile(reference(), graph), tokens);
});
afterAll(() => rm(folder, { recursive: true }));

const int64 = (rows: readonly (readonly number[])[]) =>
  new Tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [rows.length, rows[0]!.length]);
const names = Array.from({ length: layers }, (_, layer) => [`${layer}.key`, `${layer}.value`]).flat();
const noPast = (batch: number) =>
  Object.fromEntries(
    names.map((name) => [`past_key_values.${name}`, new Tensor('float32', [], [batch, kvHeads, 0, headDim])]),
  );
const pastOf = (outputs: InferenceSession.ReturnType) =>
  Object.fromEntries(names.map((name) => [`past_key_values.${name}`, outputs[`present.${name}`]!]));
const rowsOf = ({ data }: Tensor) =>
  Array.from({ length: data.length / vocabularySize }, (_, row) =>
    (data as Float32Array).subarray(row * vocabularySize, (row + 1) * vocabularySize),
  );
const upTo = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

async function exported(name: string, options?: ExportOnnxOptions) {
  const written = await exportOnnx(graph, path.join(folder, `${name}.onnx`), options);
  return { written, session: await InferenceSession.create(written.files[0]!) };
}

describe('an exported model in plain onnxruntime-node', () => {
  it.each([false, true])(
    'gives the logits of the reference, with the weights in a file of their own: %s',
    async (externalData) => {
      const { written, session } = await exported(`model-${externalData}`, { externalData });
      expect(session.inputNames).toEqual(['input_ids', 'attention_mask', 'position_ids', ...Object.keys(noPast(1))]);
      expect(session.outputNames).toEqual(['logits', ...names.map((name) => `present.${name}`)]);
      const whole = await session.run({
        input_ids: int64([tokens]),
        attention_mask: int64([tokens.map(() => 1)]),
        position_ids: int64([upTo(0, 12)]),
        ...noPast(1),
      });
      expect(whole.logits!.dims).toEqual([1, 12, vocabularySize]);
      expect(whole['present.1.value']!.dims).toEqual([1, kvHeads, 12, headDim]);
      for (const [i, row] of rowsOf(whole.logits!).entries())
        expect(relativeError(row, expected[i]!)).toBeLessThan(tolerance);

      let past: Record<string, Tensor> = noPast(1);
      for (const [i, token] of tokens.entries()) {
        const outputs = await session.run({
          input_ids: int64([[token]]),
          attention_mask: int64([upTo(0, i + 1).map(() => 1)]),
          position_ids: int64([[i]]),
          ...past,
        });
        past = pastOf(outputs);
        expect(relativeError(outputs.logits!.data as Float32Array, expected[i]!)).toBeLessThan(tolerance);
      }
      await session.release();

      const sizes = await Promise.all(written.files.map(async (file) => (await stat(file)).size));
      expect(written.byteLength).toBe(sizes.reduce((sum, size) => sum + size, 0));
      expect(written.opset).toBe(17);
      if (externalData) {
        expect(written.files.map((file) => path.basename(file))).toEqual(['model-true.onnx', 'model-true.onnx_data']);
      }
    },
  );

  it('runs several sequences at once, padded on the left', async () => {
    const { session } = await exported('padded');
    const short = tokens.slice(0, 5);
    const alone = await forwardAlone(await compile(reference(), graph), short);
    const padding = 12 - short.length;
    const { logits } = await session.run({
      input_ids: int64([tokens, [...Array(padding).fill(0), ...short]]),
      attention_mask: int64([tokens.map(() => 1), [...Array(padding).fill(0), ...short.map(() => 1)]]),
      position_ids: int64([upTo(0, 12), [...Array(padding).fill(1), ...upTo(0, 5)]]),
      ...noPast(2),
    });
    await session.release();
    const rows = rowsOf(logits!);
    for (const [i, row] of expected.entries()) expect(relativeError(rows[i]!, row)).toBeLessThan(tolerance);
    for (const [i, row] of alone.entries()) expect(relativeError(rows[12 + padding + i]!, row)).toBeLessThan(tolerance);
    expect(rows.flatMap((row) => [...row]).every(Number.isFinite)).toBe(true);
  });

  it('gives logits for the rows that are asked for, and values by name', async () => {
    const { session } = await exported('selected', { selectRows: true, values: ['0.hidden', '1.ffnNorm'] });
    const outputs = await session.run({
      input_ids: int64([tokens]),
      attention_mask: int64([tokens.map(() => 1)]),
      position_ids: int64([upTo(0, 12)]),
      logit_rows: new Tensor('int64', BigInt64Array.of(11n, 2n), [2]),
      ...noPast(1),
    });
    await session.release();
    expect(outputs.logits!.dims).toEqual([2, vocabularySize]);
    const rows = rowsOf(outputs.logits!);
    expect(relativeError(rows[0]!, expected[11]!)).toBeLessThan(tolerance);
    expect(relativeError(rows[1]!, expected[2]!)).toBeLessThan(tolerance);
    expect(outputs['values.0.hidden']!.dims).toEqual([12, 72]);
    expect(outputs['values.1.ffnNorm']!.dims).toEqual([12, 72]);
  });
});

describe('the file', () => {
  it('has standard operators only, and each weight once', async () => {
    const { files } = await exportOnnx(graph, path.join(folder, 'read.onnx'));
    const model = fromBinary(ModelProtoSchema, await readFile(files[0]!));
    expect(model.opsetImport.map(({ domain, version }) => [domain, version])).toEqual([['', 17n]]);
    expect(new Set(model.graph!.node.map(({ domain }) => domain))).toEqual(new Set(['']));
    const weights = model.graph!.initializer.filter(({ name }) => graph.params.has(name));
    expect(weights.map(({ name }) => name).sort()).toEqual([...graph.params.keys()].sort());
    for (const { name, dims, rawData } of weights) {
      const { shape, read } = graph.params.get(name)!;
      expect(dims.map(Number)).toEqual(shape);
      expect(new Float32Array(Uint8Array.from(rawData).buffer)).toEqual(await read());
    }
  });

  it('holds equal weights once where they lie outside', async () => {
    const twice = withParams(graph, [['blk.1.ffn_up.weight', graph.params.get('blk.0.ffn_up.weight')!]]);
    const sizeOf = async (name: string, of: typeof graph) =>
      (await stat((await exportOnnx(of, path.join(folder, name), { externalData: true })).files[1]!)).size;
    expect((await sizeOf('once.onnx', graph)) - (await sizeOf('twice.onnx', twice))).toBeGreaterThanOrEqual(
      80 * 72 * 4,
    );
  });

  it('is not there when writing fails or is aborted, and one that was there stays', async () => {
    const target = path.join(folder, 'failing.onnx');
    const controller = new AbortController();
    const failing = withParams(graph, [
      [
        'output_norm.weight',
        { ...graph.params.get('output_norm.weight')!, read: () => Promise.reject(new Error('bad disk')) },
      ],
    ]);
    const short = withParams(graph, [
      ['output_norm.weight', { ...graph.params.get('output_norm.weight')!, read: async () => new Float32Array(5) }],
    ]);
    for (const externalData of [false, true]) {
      await expect(exportOnnx(failing, target, { externalData })).rejects.toThrow('bad disk');
      await expect(exportOnnx(short, target, { externalData })).rejects.toMatchObject({ code: 'LLMOPT_TENSOR_SHAPE' });
    }
    const aborted = exportOnnx(graph, target, { signal: controller.signal, onProgress: () => controller.abort() });
    await expect(aborted).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
    expect((await readdir(folder)).filter((name) => name.startsWith('failing'))).toEqual([]);

    await exportOnnx(graph, target);
    const before = await readFile(target);
    await expect(exportOnnx(failing, target)).rejects.toThrow();
    expect(await readFile(target)).toEqual(before);
  });

  it('is refused for options that make no sense', async () => {
    const target = path.join(folder, 'refused.onnx');
    const refused = { code: 'LLMOPT_OPTION_INVALID' };
    await expect(exportOnnx(graph, target, { contextLength: 0 })).rejects.toMatchObject(refused);
    await expect(exportOnnx(graph, target, { values: ['nothing'] })).rejects.toMatchObject(refused);
  });

  it('tells how far it is', async () => {
    const fractions: number[] = [];
    await exportOnnx(graph, path.join(folder, 'progress.onnx'), {
      externalData: true,
      onProgress: ({ fraction }) => fractions.push(fraction),
    });
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b));
    expect(fractions.at(-1)).toBe(1);
  });
});
