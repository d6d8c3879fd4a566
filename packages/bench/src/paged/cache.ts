import type { ModelShape } from '../kernels/shapes.ts';
import { createRandom } from '../statistics/random.ts';
import { wasmBase64 } from './paged.generated.ts';

type Attend = (
  query: number,
  keys: number,
  values: number,
  heads: number,
  kvHeads: number,
  headDim: number,
  length: number,
  output: number,
  scratch: number,
) => void;

type Shape = Pick<ModelShape, 'heads' | 'kvHeads' | 'headDim' | 'layers'>;

/** Tokens of a block. */
export const blockTokens = 16;
const page = 65_536;

/** Keys and values of one sequence, twice: one block behind the other, and in blocks that a table finds. */
export interface Caches {
  /** What attention of one token gives in the last layer, after all layers. */
  dense(): Float32Array;
  paged(): Float32Array;
}

/**
 * Fills both with the same random numbers. The blocks of the table lie in an order that is drawn, as in a pool in which sequences have come and
 * gone.
 */
export function createCaches({ heads, kvHeads, headDim, layers }: Shape, length: number, seed = 0): Caches {
  const blocks = Math.ceil(length / blockTokens);
  const blockBytes = kvHeads * blockTokens * headDim * 4;
  const rangeBytes = blocks * blockBytes;
  const rowBytes = heads * headDim * 4;
  const random = createRandom(seed);
  const ranges = 2 * layers;
  const tables = 2 * ranges * rangeBytes;
  const query = tables + Math.ceil((ranges * blocks * 4) / 64) * 64;
  const output = query + rowBytes;
  const scratch = output + rowBytes;
  const bytes = scratch + 2 * blocks * 64 + 256;
  const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / page), maximum: 65_536 });
  const module = new WebAssembly.Module(Buffer.from(wasmBase64, 'base64'));
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  const attend = exports as unknown as Record<'dense' | 'paged', Attend>;

  const numbers = new Float32Array(memory.buffer);
  for (let index = 0; index < (ranges * rangeBytes) / 4; index++) numbers[index] = 2 * random() - 1;
  for (let index = 0; index < rowBytes / 4; index++) numbers[query / 4 + index] = 2 * random() - 1;
  const order = Uint32Array.from({ length: ranges * blocks }, (_, index) => index);
  for (let index = order.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1));
    [order[index], order[other]] = [order[other] as number, order[index] as number];
  }
  const table = new Uint32Array(memory.buffer, tables, order.length);
  for (const [index, place] of order.entries()) {
    const at = ranges * rangeBytes + place * blockBytes;
    table[index] = at;
    numbers.copyWithin(at / 4, (index * blockBytes) / 4, ((index + 1) * blockBytes) / 4);
  }

  const run = (kernel: Attend, start: number, rangeStep: number) => () => {
    for (let layer = 0; layer < layers; layer++) {
      const keys = start + 2 * layer * rangeStep;
      kernel(query, keys, keys + rangeStep, heads, kvHeads, headDim, length, output, scratch);
    }
    return new Float32Array(memory.buffer, output, rowBytes / 4).slice();
  };
  return { dense: run(attend.dense, 0, rangeBytes), paged: run(attend.paged, tables, blocks * 4) };
}
