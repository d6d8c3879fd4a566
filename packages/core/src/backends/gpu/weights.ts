import type { Graph, Param } from '../../graph/graph.ts';
import type { CompileOptions } from '../backend.ts';
import type { GpuTensor } from './abi.ts';
import type { Device, Memory, Operand } from './device/device.ts';

// Numbers of a weight in JavaScript's memory at once, and the rows that a transposition keeps in the caches.
const CHUNK = 2 ** 18;
const TILE = 32;

export interface Weights {
  readonly operands: ReadonlyMap<GpuTensor, Operand>;
  readonly byteLength: number;
  dispose(): void;
}

/** Puts the parameters on the device, matrices with their outputs side by side. Parameters of one key are there once. */
export async function loadWeights(
  device: Device,
  graph: Graph,
  params: ReadonlyMap<string, GpuTensor>,
  { signal, onProgress }: CompileOptions,
): Promise<Weights> {
  const memories = new Map<string, Memory>();
  const operands = new Map<GpuTensor, Operand>();
  const dispose = () => {
    for (const memory of memories.values()) memory.destroy();
    memories.clear();
    operands.clear();
  };
  try {
    for (const [name, tensor] of params) {
      signal?.throwIfAborted();
      const param = graph.params.get(name)!;
      const length = param.shape.reduce((product, size) => product * size, 1);
      const memory =
        memories.get(param.key) ??
        (await device.allocate(length, `the parameter ${name}`, (target) => fill(target, param)));
      memories.set(param.key, memory);
      operands.set(tensor, memory.view(param.shape));
      onProgress?.({ stage: 'load', fraction: operands.size / params.size });
    }
  } catch (error) {
    dispose();
    throw error;
  }
  const byteLength = [...memories.values()].reduce((sum, { length }) => sum + length * 4, 0);
  return { operands, byteLength, dispose };
}

/** Reads a parameter into `target`: a vector as it is, a matrix `[out, in]` transposed. */
async function fill(target: Float32Array, param: Param): Promise<void> {
  const [outputs, inputs] = param.shape as [number, number | undefined];
  if (inputs === undefined) {
    target.set(await param.read());
    return;
  }
  const chunk = Math.max(TILE, Math.floor(CHUNK / inputs));
  for (let from = 0; from < outputs; from += chunk) {
    const to = Math.min(outputs, from + chunk);
    const rows = await param.read([from, to]);
    for (let tile = from; tile < to; tile += TILE) {
      const end = Math.min(to, tile + TILE);
      for (let input = 0; input < inputs; input++) {
        for (let output = tile; output < end; output++) {
          target[input * outputs + output] = rows[(output - from) * inputs + input]!;
        }
      }
    }
  }
}
