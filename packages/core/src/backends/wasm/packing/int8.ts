import { LlmoptError } from '../../../errors.ts';
import { recordInt8Layout, tileInt8Layout } from './layouts.ts';
import { wasmBase64 } from './pack.generated.ts';

// Alternating rows and columns this often leaves nothing to balance.
const TURNS = 20;

// Packing gives way to the event loop after so long.
const WORK_MS = 10;

/** Packs matrices as int8, one at a time. */
export interface Int8Packer {
  /**
   * Writes matrices that lie one below the other, `[outputs, inputs]` together, in tiles or in records. `read` puts each where its rows begin,
   * and fills in the bias.
   *
   * Scales are per output and per input: rows and columns are brought to equal root mean squares in turns, then each row's largest number
   * becomes 127, and then a channel that nowhere comes near the largest number of its rows gets a finer scale, at no cost to the others.
   * The channel scales are folded into the activations, which costs nothing.
   * @throws LLMOPT_OUT_OF_MEMORY, and what `read` throws
   */
  pack(
    size: { outputs: number; inputs: number; records: boolean },
    read: (put: (row: number, matrix: Float32Array) => void, bias: Float32Array) => Promise<void>,
    target: Uint8Array,
  ): Promise<void>;
}

interface Code {
  prepare(outputs: number, inputs: number, packedBytes: number): number;
  balance(): void;
  scale(): void;
  packTiles(): void;
  packRecords(recordBytes: number): void;
  rowScalesAt(): number;
  channelScalesAt(): number;
  packedAt(): number;
}

/** With a memory of its own, which is as large as the largest matrix asks for. */
export function createInt8Packer(): Int8Packer {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
  const module = new WebAssembly.Module(Buffer.from(wasmBase64, 'base64'));
  const code = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Code;
  let worked = performance.now();
  const giveWay = async () => {
    if (performance.now() - worked < WORK_MS) return;
    await new Promise((resolve) => setImmediate(resolve));
    worked = performance.now();
  };
  return {
    async pack({ outputs, inputs, records }, read, target) {
      const layout = records ? recordInt8Layout(outputs, inputs) : tileInt8Layout(outputs, inputs);
      // The packed weights are what lies before the scales.
      const bytes = layout.rowScales;
      const weights = code.prepare(outputs, inputs, bytes) >>> 0;
      if (weights === 0) {
        throw new LlmoptError('LLMOPT_OUT_OF_MEMORY', `A matrix of ${outputs} x ${inputs} is too large to be packed.`, {
          hint: 'Use a smaller model, or the precision "float32".',
        });
      }
      const floats = (at: number, length: number) => new Float32Array(memory.buffer, at >>> 0, length);
      const bias = new Float32Array(outputs);
      await read((row, matrix) => floats(weights + row * inputs * 4, matrix.length).set(matrix), bias);
      for (let turn = 0; turn < TURNS; turn++) {
        await giveWay();
        code.balance();
      }
      await giveWay();
      code.scale();
      await giveWay();
      if (records) code.packRecords((layout as ReturnType<typeof recordInt8Layout>).recordBytes);
      else code.packTiles();
      const floatsOf = (at: number, length: number) => new Float32Array(target.buffer, target.byteOffset + at, length);
      target.set(new Uint8Array(memory.buffer, code.packedAt() >>> 0, bytes));
      floatsOf(layout.rowScales, outputs).set(floats(code.rowScalesAt(), outputs));
      floatsOf(layout.channelScales, inputs).set(floats(code.channelScalesAt(), inputs));
      floatsOf(layout.bias, outputs).set(bias);
    },
  };
}
