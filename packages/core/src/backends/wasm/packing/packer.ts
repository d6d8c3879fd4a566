import { abiVersion } from '../abi.ts';
import { createArena } from '../arena.ts';
import type { VectorBits } from '../kernelModules.ts';
import { type KernelCall, kernelsHere, workerKernels } from '../kernelRunner.ts';
import { wasmBase64 } from './kernels.generated.ts';
import { headInt8Layout, headRoom, int8Room, recordInt8Layout, tileInt8Layout } from './layouts.ts';

/** Turns float32 weights into int8. One matrix, or part of one, at a time. */
export interface Packer {
  /** The room for `[outputs, inputs]` float32 weights that are packed next. */
  weights(outputs: number, inputs: number): Float32Array;
  /** Packs what was written there, in tiles or in records. `target` is all zero before. */
  packInt8(outputs: number, inputs: number, records: boolean, bias: Float32Array, target: Uint8Array): Promise<void>;
  /**
   * Packs what was written there, as rows of a head that has `outputs` in all, from row `first` on (a multiple of 16). The grid is that of
   * Q8_0, so weights that come from a Q8_0 tensor keep their exact values.
   */
  packHead(rows: number, first: number, outputs: number, inputs: number, target: Uint8Array): Promise<void>;
  dispose(): Promise<void>;
}

const module = { name: 'packing', abiVersion, base64: wasmBase64 };

/** How often rows and columns take turns at being balanced. */
const ITERATIONS = 20;

// Less than the start of the workers would take.
const FEW_WEIGHTS = 4 * 2 ** 20;

/**
 * A packer with room for matrices of up to so many bytes of float32 numbers and packed weights. Its memory is its own, and free again
 * when it is disposed. `weights`: how many will be packed in all.
 * @throws LLMOPT_OUT_OF_MEMORY
 */
export function createPacker(
  roomBytes: number,
  weights: number,
  { threads, vectorBits }: { threads: number; vectorBits: VectorBits },
): Packer {
  const arena = createArena();
  const runner =
    weights <= FEW_WEIGHTS ? kernelsHere(arena, module, vectorBits) : workerKernels(arena, module, threads, vectorBits);
  const room = arena.allocate(roomBytes, 'weights to pack');
  const { buffer } = arena.memory;
  const floats = (at: number, length: number) => new Float32Array(buffer, at, length);
  const zeroed = (at: number, length: number) => new Uint8Array(buffer, at, length).fill(0);

  return {
    weights: (outputs, inputs) => floats(room, outputs * inputs),

    async packInt8(outputs, inputs, records, bias, target) {
      const layout = records ? recordInt8Layout(outputs, inputs) : tileInt8Layout(outputs, inputs);
      const at = int8Room(outputs, inputs, layout.rowScales, room);
      new Float64Array(buffer, at.v, inputs).fill(1);
      const bytes = zeroed(at.packed, layout.rowScales);
      const balanced = [room, outputs, inputs];
      const packed = [...balanced, at.channelFactors, at.rowScales, at.packed];
      const turn: KernelCall[] = ['balanceRows', 'balanceColumns'].map((kernel) => ({
        kernel,
        args: [...balanced, at.v, at.u],
      }));
      await runner.run([
        ...Array.from({ length: ITERATIONS }, () => turn).flat(),
        { kernel: 'balanceScales', args: [inputs, at.v, at.channelScales] },
        { kernel: 'balanceLargest', args: [...balanced, at.channelScales, at.u, at.rowScales] },
        { kernel: 'balanceReach', args: [...balanced, at.channelScales, at.u, at.v, at.channelFactors] },
        records
          ? { kernel: 'packRecords', args: [...packed, recordInt8Layout(outputs, inputs).recordBytes] }
          : { kernel: 'packTiles', args: packed },
      ]);
      target.set(bytes);
      floatsIn(target, layout.rowScales, outputs).set(floats(at.rowScales, outputs));
      floatsIn(target, layout.channelScales, inputs).set(floats(at.channelScales, inputs));
      floatsIn(target, layout.bias, outputs).set(bias);
    },

    async packHead(rows, first, outputs, inputs, target) {
      const part = headInt8Layout(rows, inputs);
      const { packed } = headRoom(rows, inputs, room);
      const bytes = zeroed(packed, part.byteLength);
      await runner.run([{ kernel: 'packHead', args: [room, rows, inputs, packed, packed + part.scales] }]);
      const whole = headInt8Layout(outputs, inputs);
      const before = headInt8Layout(first, inputs);
      target.set(bytes.subarray(0, part.scales), before.scales);
      target.set(bytes.subarray(part.scales), whole.scales + before.byteLength - before.scales);
    },

    dispose: () => runner.dispose(),
  };
}

const floatsIn = (target: Uint8Array, at: number, length: number) =>
  new Float32Array(target.buffer, target.byteOffset + at, length);
