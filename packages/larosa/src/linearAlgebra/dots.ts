import { wasmBase64 } from './dots.generated.ts';

/** Row-major numbers. */
export type Numbers = Float32Array | Float64Array;

type AddDots = (
  a: number,
  b: number,
  c: number,
  rows: number,
  columns: number,
  inner: number,
  triangle: boolean,
) => void;

let module: WebAssembly.Module | undefined;
let instance: { memory: WebAssembly.Memory; addDots: AddDots } | undefined;

/** Lets go of the memory in which dots were made. */
export function forgetDots(): void {
  instance = undefined;
}

function ready(bytes: number) {
  if (!instance) {
    module ??= new WebAssembly.Module(Buffer.from(wasmBase64, 'base64'));
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 65_536 });
    const { exports } = new WebAssembly.Instance(module, { env: { memory } });
    instance = { memory, addDots: exports.addDots as unknown as AddDots };
  }
  const missing = Math.ceil(bytes / 65_536) - instance.memory.buffer.byteLength / 65_536;
  if (missing > 0) instance.memory.grow(missing);
  return instance;
}

const up = (size: number, to: number) => Math.ceil(size / to) * to;

// Rows at once: enough to read the other matrix few times, few enough to stay in a cache.
const ROWS = 64;

/**
 * left · rightᵀ in float64: `[rows, inner]` times `[columns, inner]` gives `[rows, columns]`. With `triangle`, only what lies on or above the
 * diagonal is sure to be there.
 */
export function dots(left: Numbers, right: Numbers, inner: number, triangle = false): Float64Array {
  const rows = left.length / inner;
  const columns = right.length / inner;
  const paddedInner = up(inner, 2);
  const paddedColumns = up(columns, 2);
  // A triangle is made at once: which columns a row needs is counted from its first.
  const some = triangle ? up(rows, 4) : Math.min(ROWS, up(rows, 4));
  const a = 0;
  const b = a + some * paddedInner * 8;
  const c = b + paddedColumns * paddedInner * 8;
  const { memory, addDots } = ready(c + some * paddedColumns * 8);
  const place = (at: number, length: number) => new Float64Array(memory.buffer, at, length);
  const put = (numbers: Numbers, at: number, padded: number) => {
    const target = place(at, padded * paddedInner).fill(0);
    const count = numbers.length / inner;
    for (let row = 0; row < count; row++) {
      target.set(numbers.subarray(row * inner, (row + 1) * inner), row * paddedInner);
    }
  };
  put(right, b, paddedColumns);
  const out = new Float64Array(rows * columns);
  for (let from = 0; from < rows; from += some) {
    const to = Math.min(rows, from + some);
    put(left.subarray(from * inner, to * inner), a, some);
    const sums = place(c, some * paddedColumns).fill(0);
    addDots(a, b, c, some, paddedColumns, paddedInner, triangle);
    for (let row = from; row < to; row++) {
      const at = (row - from) * paddedColumns;
      out.set(sums.subarray(at, at + columns), row * columns);
    }
  }
  return out;
}
