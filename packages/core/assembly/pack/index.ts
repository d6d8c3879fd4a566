// Scales for int8 weights and the weights themselves, of float32 [outputs, inputs]. Every number has the bits that the plain loops of the tests give:
// sums run in one order, and what is done at once are different sums.

let outputs: i32 = 0;
let inputs: i32 = 0;
// float32 [outputs, inputs]
let weights: usize = 0;
// float64 [inputs], what weights of an input are multiplied with, and the sums over the outputs
let factors: usize = 0;
let sums: usize = 0;
// float32 [outputs], float32 [inputs], float32 [inputs]
let rowScales: usize = 0;
let channelScales: usize = 0;
let reach: usize = 0;

const ROWS = 4;

/** Makes room for a matrix, and for so many bytes that it is packed to. Returns the address of its weights, or 0 when the memory cannot hold it. */
export function prepare(outputCount: i32, inputCount: i32, packedBytes: i32): usize {
  outputs = outputCount;
  inputs = inputCount;
  const evenInputs = (<u64>inputs + 1) & ~1;
  const evenOutputs = (<u64>outputs + 1) & ~1;
  // Whole vectors may be read behind the last weight.
  const weightBytes = (<u64>outputs * <u64>inputs * 4 + 31) & ~15;
  const total = 64 + weightBytes + evenInputs * 24 + evenOutputs * 4 + <u64>packedBytes + 64;
  const pages = <i64>((total + 65535) >> 16);
  if (pages > 65536) return 0;
  const missing = <i32>pages - memory.size();
  if (missing > 0 && memory.grow(missing) < 0) return 0;
  weights = 64;
  factors = weights + <usize>weightBytes;
  sums = factors + <usize>evenInputs * 8;
  channelScales = sums + <usize>evenInputs * 8;
  reach = channelScales + <usize>evenInputs * 4;
  rowScales = reach + <usize>evenInputs * 4;
  for (let i: usize = 0; i < <usize>evenInputs; i++) store<f64>(factors + (i << 3), 1);
  return weights;
}

export function rowScalesAt(): usize {
  return rowScales;
}

export function channelScalesAt(): usize {
  return channelScales;
}

/** Where the packed bytes are. */
export function packedAt(): usize {
  return (rowScales + (<usize>outputs << 2) + 63) & ~63;
}

/** One turn of balancing: brings the rows to equal root mean squares, and then the columns. */
export function balance(): void {
  memory.fill(sums, 0, <usize>inputs << 3);
  const stride = <usize>inputs << 2;
  let row = 0;
  let at = weights;
  for (; row + ROWS <= outputs; row += ROWS) {
    let a: f64 = 0;
    let b: f64 = 0;
    let c: f64 = 0;
    let d: f64 = 0;
    for (let i: usize = 0; i < <usize>inputs; i++) {
      const factor = load<f64>(factors + (i << 3));
      const from = at + (i << 2);
      const w0 = <f64>load<f32>(from);
      const w1 = <f64>load<f32>(from + stride);
      const w2 = <f64>load<f32>(from + stride * 2);
      const w3 = <f64>load<f32>(from + stride * 3);
      a += w0 * w0 * factor;
      b += w1 * w1 * factor;
      c += w2 * w2 * factor;
      d += w3 * w3 * factor;
    }
    const f0 = f64x2.splat(rowFactor(a));
    const f1 = f64x2.splat(rowFactor(b));
    const f2 = f64x2.splat(rowFactor(c));
    const f3 = f64x2.splat(rowFactor(d));
    for (let i: usize = 0; i < <usize>inputs; i += 2) {
      const from = at + (i << 2);
      const to = sums + (i << 3);
      let sum = v128.load(to);
      sum = f64x2.add(sum, f64x2.mul(squares(from), f0));
      sum = f64x2.add(sum, f64x2.mul(squares(from + stride), f1));
      sum = f64x2.add(sum, f64x2.mul(squares(from + stride * 2), f2));
      sum = f64x2.add(sum, f64x2.mul(squares(from + stride * 3), f3));
      v128.store(to, sum);
    }
    at += stride * ROWS;
  }
  for (; row < outputs; row++) {
    let sum: f64 = 0;
    for (let i: usize = 0; i < <usize>inputs; i++) {
      const weight = <f64>load<f32>(at + (i << 2));
      sum += weight * weight * load<f64>(factors + (i << 3));
    }
    const factor = f64x2.splat(rowFactor(sum));
    for (let i: usize = 0; i < <usize>inputs; i += 2) {
      const to = sums + (i << 3);
      v128.store(to, f64x2.add(v128.load(to), f64x2.mul(squares(at + (i << 2)), factor)));
    }
    at += stride;
  }
  for (let i: usize = 0; i < <usize>inputs; i++) {
    const sum = load<f64>(sums + (i << 3));
    store<f64>(factors + (i << 3), sum > 0 ? <f64>outputs / sum : 1);
  }
}

// @ts-ignore: decorator
@inline
function rowFactor(sum: f64): f64 {
  return sum > 0 ? <f64>inputs / sum : 1;
}

// @ts-ignore: decorator
@inline
function pair(from: usize): v128 {
  return f64x2.promote_low_f32x4(v128.load64_zero(from));
}

// @ts-ignore: decorator
@inline
function squares(from: usize): v128 {
  const weights = pair(from);
  return f64x2.mul(weights, weights);
}

/** The scales: each row's largest number becomes 127, and channels with room get a finer scale. */
export function scale(): void {
  for (let i: usize = 0; i < <usize>inputs; i++) {
    store<f32>(channelScales + (i << 2), <f32>(1.0 / sqrt<f64>(load<f64>(factors + (i << 3)))));
    store<f32>(reach + (i << 2), 0);
  }
  const even = <usize>(inputs & ~1);
  let at = weights;
  for (let row: usize = 0; row < <usize>outputs; row++) {
    let both = f64x2.splat(0);
    for (let i: usize = 0; i < even; i += 2) both = f64x2.max(both, scaledPair(at, i));
    let largest = max<f64>(f64x2.extract_lane(both, 0), f64x2.extract_lane(both, 1));
    if (even < <usize>inputs) largest = max<f64>(largest, scaled(at, even));
    if (largest == 0) store<f32>(rowScales + (row << 2), 1);
    else {
      store<f32>(rowScales + (row << 2), <f32>(largest / 127.0));
      const divisor = f64x2.splat(largest);
      for (let i: usize = 0; i < even; i += 2) {
        const to = reach + (i << 2);
        const share = f64x2.max(pair(to), f64x2.div(scaledPair(at, i), divisor));
        v128.store64_lane(to, f32x4.demote_f64x2_zero(share), 0);
      }
      if (even < <usize>inputs) {
        const to = reach + (even << 2);
        store<f32>(to, <f32>max<f64>(<f64>load<f32>(to), scaled(at, even) / largest));
      }
    }
    at += <usize>inputs << 2;
  }
  for (let i: usize = 0; i < <usize>inputs; i++) {
    const own = <f64>load<f32>(reach + (i << 2));
    const to = channelScales + (i << 2);
    if (own > 0) store<f32>(to, <f32>(<f64>load<f32>(to) * own));
    // From here on, what weights are multiplied with.
    store<f32>(reach + (i << 2), <f32>(1.0 / <f64>load<f32>(to)));
  }
}

// @ts-ignore: decorator
@inline
function scaled(row: usize, i: usize): f64 {
  return abs<f64>(<f64>load<f32>(row + (i << 2)) / <f64>load<f32>(channelScales + (i << 2)));
}

// @ts-ignore: decorator
@inline
function scaledPair(row: usize, i: usize): v128 {
  return f64x2.abs(f64x2.div(pair(row + (i << 2)), pair(channelScales + (i << 2))));
}

/** Two weights of a row, from input `i` on, as integers in the lower lanes of 32 bits. */
// @ts-ignore: decorator
@inline
function quantized(row: usize, i: usize, rowScale: v128): v128 {
  const x = f64x2.div(f64x2.mul(pair(row + (i << 2)), pair(reach + (i << 2))), rowScale);
  // Halves up: one less than the ceiling where that is more than a half away.
  const up = f64x2.ceil(x);
  const away = f64x2.gt(f64x2.sub(up, f64x2.splat(0.5)), x);
  const rounded = f64x2.sub(up, v128.and(away, f64x2.splat(1)));
  const clamped = f64x2.max(f64x2.splat(-127), f64x2.min(f64x2.splat(127), rounded));
  return i32x4.trunc_sat_f64x2_s_zero(clamped);
}

/** Tiles: `[outputs / 32, inputs / 2, 32, 2]`. */
export function packTiles(): void {
  const packed = packedAt();
  const pairs = <usize>(inputs + 1) >> 1;
  memory.fill(packed, 0, ((<usize>outputs + 31) >> 5) * pairs * 64);
  let at = weights;
  for (let row: usize = 0; row < <usize>outputs; row++) {
    const rowScale = f64x2.splat(<f64>load<f32>(rowScales + (row << 2)));
    let to = packed + (row >> 5) * pairs * 64 + (row & 31) * 2;
    for (let i: usize = 0; i < <usize>inputs; i += 2) {
      const both = quantized(at, i, rowScale);
      store<i8>(to, i32x4.extract_lane(both, 0));
      if (i + 1 < <usize>inputs) store<i8>(to, i32x4.extract_lane(both, 1), 1);
      to += 64;
    }
    at += <usize>inputs << 2;
  }
}

/** Records of so many bytes, one per input, an even number of them. */
export function packRecords(recordBytes: i32): void {
  const packed = packedAt();
  memory.fill(packed, 0, <usize>recordBytes * ((<usize>inputs + 1) & ~1));
  let at = weights;
  for (let row: usize = 0; row < <usize>outputs; row++) {
    const rowScale = f64x2.splat(<f64>load<f32>(rowScales + (row << 2)));
    let to = packed + row;
    for (let i: usize = 0; i < <usize>inputs; i += 2) {
      const both = quantized(at, i, rowScale);
      store<i8>(to, i32x4.extract_lane(both, 0));
      if (i + 1 < <usize>inputs) store<i8>(to + <usize>recordBytes, i32x4.extract_lane(both, 1));
      to += <usize>recordBytes << 1;
    }
    at += <usize>inputs << 2;
  }
}
