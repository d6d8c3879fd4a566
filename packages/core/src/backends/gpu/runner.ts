import { LlmoptError } from '../../errors.ts';
import type { Graph, ValueInfo } from '../../graph/graph.ts';
import type { Batch, CompileOptions, ForwardResult } from '../backend.ts';
import type { BatchRows } from '../reference/context.ts';
import type { GpuExtent, GpuTensor } from './abi.ts';
import type { Device, Memory, Operand } from './device/device.ts';
import type { KvStore } from './kvStore.ts';
import type { KernelStep, Program } from './program.ts';

/** Runs a program on one batch after the other. */
export interface Runner {
  run(rows: BatchRows, wanted: Batch['values']): Promise<ForwardResult>;
  /** Bytes of the kernels' outputs, as large as the batches so far needed. */
  activationsBytes(): number;
  /** A run that is under way ends at its next call, with LLMOPT_DISPOSED. */
  dispose(): void;
}

/** Memory and kernels for a program, besides weights and cache. */
export async function createRunner(
  device: Device,
  graph: Graph,
  infos: ReadonlyMap<string, ValueInfo>,
  program: Program,
  weights: ReadonlyMap<GpuTensor, Operand>,
  cache: KvStore,
  { maxRows }: CompileOptions,
): Promise<Runner> {
  const roundUp = (size: number) => (device.fixedSizes && size > 0 ? 2 ** Math.ceil(Math.log2(size)) : size);
  const kernels = program.kernels.map(({ kernel, constants = {} }) => device.kernel(kernel, constants));
  const outputLengths = kernels.map(() => 0);
  const memories: Memory[] = [];
  const fixed = new Map(weights);
  const columns: { tensor: GpuTensor; memory: Memory; of: (rows: BatchRows) => Int32Array }[] = [];
  let disposed = false;
  const dispose = () => {
    disposed = true;
    for (const memory of memories) memory.destroy();
    for (const kernel of kernels) kernel.destroy();
    fixed.clear();
    columns.length = 0;
  };

  try {
    for (const { tensor, make } of program.tables) {
      const size = tensor.size as number[];
      const memory = await device.allocate(lengthOf(size), `a table of ${size.join(' by ')}`, (target) =>
        target.set(make()),
      );
      memories.push(memory);
      fixed.set(tensor, memory.view(size));
    }
    for (const name of ['tokens', 'slots', 'positions', 'prompt', 'logitRows'] as const) {
      const memory = await device.allocate(roundUp(maxRows), 'the batch');
      memories.push(memory);
      columns.push({ tensor: program.batch[name], memory, of: (rows) => rows[name] });
    }
  } catch (error) {
    dispose();
    throw error;
  }

  return { run, dispose, activationsBytes: () => outputLengths.reduce((sum, length) => sum + length * 4, 0) };

  async function run(rows: BatchRows, wanted: Batch['values'] = []): Promise<ForwardResult> {
    const longest = 1 + Math.max(...rows.positions);
    await cache.reserve(1 + Math.max(...rows.slots), longest);
    const extents: Record<Exclude<GpuExtent, number>, number> = {
      batch: roundUp(rows.tokens.length),
      logits: roundUp(rows.logitRows.length),
      positions: device.fixedSizes ? cache.positions : longest,
    };
    const sizes = (size: readonly GpuExtent[]) =>
      size.map((extent) => (typeof extent === 'number' ? extent : extents[extent]));
    const bound = bind(rows, sizes);
    const reads: Promise<readonly [tensor: GpuTensor, numbers: Float32Array]>[] = [];
    const logits = program.values.get(graph.logits)!;
    const captured = new Set([logits, ...wanted.map(({ name }) => program.values.get(name)!)]);
    try {
      for (const step of program.steps) {
        if (disposed) throw new LlmoptError('LLMOPT_DISPOSED', 'This executable was disposed while it ran.');
        if (step.kind === 'store') cache.store(step.layer, bound.get(step.key)!, bound.get(step.value)!, rows);
        else {
          const output = await call(step, bound, sizes);
          const tensor = step.call.output;
          if (output && captured.has(tensor)) {
            reads.push(device.read(output, lengthOf(output.size)).then((numbers) => [tensor, numbers] as const));
          }
        }
      }
    } catch (error) {
      await Promise.allSettled(reads);
      throw error;
    }
    const read = new Map(await Promise.all(reads));
    const nothing = new Float32Array(0);
    return {
      logits: (read.get(logits) ?? nothing).subarray(0, rows.logitRows.length * graph.config.vocabularySize),
      values: Object.fromEntries(
        wanted.map(({ name, rows: picked }) => [
          name,
          pickRows(read.get(program.values.get(name)!) ?? nothing, infos.get(name)!.width, picked),
        ]),
      ),
    };
  }

  /** Uploads the batch, and finds what each tensor stands for that is not made on the way. */
  function bind(rows: BatchRows, sizes: (size: readonly GpuExtent[]) => number[]): Map<GpuTensor, Operand> {
    const bound = new Map(fixed);
    for (const { tensor, memory, of } of columns) {
      const size = sizes(tensor.size);
      if (size[0] === 0) continue;
      const padded = new Float32Array(size[0]!);
      padded.set(of(rows));
      memory.write(padded);
      bound.set(tensor, memory.view(size));
    }
    for (const [layer, tensor] of program.keys) bound.set(tensor, cache.keys(layer));
    for (const [layer, tensor] of program.cachedValues) bound.set(tensor, cache.values(layer));
    return bound;
  }

  /** Runs a kernel; nothing where its grid is empty, which is so behind `selectRows` when no row wants logits. */
  async function call(
    { call: { tensors, output, threads }, kernel }: KernelStep,
    bound: Map<GpuTensor, Operand>,
    sizes: (size: readonly GpuExtent[]) => number[],
  ): Promise<Operand | undefined> {
    const size = sizes(output.size);
    if (size.includes(0)) return undefined;
    const grid = threads ? sizes(threads) : size;
    const result = await kernels[kernel]!.run(
      tensors.map((tensor) => bound.get(tensor)!),
      grid,
      size,
    );
    outputLengths[kernel] = Math.max(outputLengths[kernel]!, lengthOf(size));
    bound.set(output, result);
    return result;
  }
}

const lengthOf = (size: readonly number[]) => size.reduce((product, extent) => product * extent, 1);

function pickRows(numbers: Float32Array, width: number, rows: ArrayLike<number>): Float32Array {
  const picked = new Float32Array(rows.length * width);
  Array.from(rows).forEach((row, at) => {
    picked.set(numbers.subarray(row * width, (row + 1) * width), at * width);
  });
  return picked;
}
