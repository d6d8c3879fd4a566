import { setFloat16 } from '@petamoriken/float16';
import { LlmoptError } from '../../errors.ts';

/** The tensor types that can be written. */
export type WritableType = 'F32' | 'F16' | 'Q8_0';

const largestHalf = 65_504;

function doesNotFit(type: string, value: number, index: number): LlmoptError {
  return new LlmoptError('LLMOPT_OPTION_INVALID', `Value ${index} is ${value}, which ${type} cannot hold.`, {
    hint: 'Write this tensor as F32.',
  });
}

function encodeF32(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function encodeF16(values: Float32Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 2));
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (!(Math.abs(value) <= largestHalf)) throw doesNotFit('F16', value, i);
    setFloat16(view, i * 2, value, true);
  }
  return new Uint8Array(view.buffer);
}

/** Blocks of 32: the scale makes the largest magnitude 127; halves are rounded away from zero. */
function encodeQ8_0(values: Float32Array): Uint8Array {
  const blocks = values.length / 32;
  const bytes = new Uint8Array(blocks * 34);
  const view = new DataView(bytes.buffer);
  for (let block = 0; block < blocks; block++) {
    let largest = 0;
    for (let i = block * 32; i < block * 32 + 32; i++) {
      const magnitude = Math.abs(values[i]!);
      if (!(magnitude <= largestHalf * 127)) throw doesNotFit('Q8_0', values[i]!, i);
      if (magnitude > largest) largest = magnitude;
    }
    const scale = Math.fround(largest / 127);
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    setFloat16(view, block * 34, scale, true);
    for (let i = 0; i < 32; i++) {
      const scaled = Math.fround(values[block * 32 + i]! * inverse);
      bytes[block * 34 + 2 + i] = scaled < 0 ? -Math.floor(0.5 - scaled) : Math.floor(scaled + 0.5);
    }
  }
  return bytes;
}

/**
 * float32 values as the bytes of a tensor; for Q8_0 their number is a multiple of 32.
 * @throws LLMOPT_OPTION_INVALID when a value is too large for the type or not a number
 */
export const encoders: Readonly<Record<WritableType, (values: Float32Array) => Uint8Array>> = {
  F32: encodeF32,
  F16: encodeF16,
  Q8_0: encodeQ8_0,
};

/** float32 values rounded to the upper half of their bits, ties to even; what is no number stays none. */
export function encodeBF16(values: Float32Array): Uint8Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const word = bits[i]!;
    halves[i] = Number.isNaN(values[i]!) ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return new Uint8Array(halves.buffer);
}
