import { partialScores, partialScoresTwo, mix, mixTwo, softmaxUnscaled, sumEach } from '../../core/assembly/attentionRun';
import { BLOCK } from '../../core/assembly/kv';

// Attention of one row over the keys and values of one layer, in blocks [kvHeads, 16, headDim] float32: one behind the other, or where a table
// of pointers says. All else is the same. Scratch: two rows of scores, then 256 bytes.

// @ts-ignore: decorator
@inline
function blockOf(blocks: usize, index: i32, blockBytes: usize, paged: bool): usize {
  return paged ? <usize>load<u32>(blocks + (<usize>index << 2)) : blocks + <usize>index * blockBytes;
}

// @ts-ignore: decorator
@inline
function attend(
  query: usize,
  keys: usize,
  values: usize,
  heads: i32,
  kvHeads: i32,
  headDim: usize,
  length: i32,
  output: usize,
  scratch: usize,
  paged: bool,
): void {
  const headBytes = headDim << 2;
  const runBytes = BLOCK * headBytes;
  const blockBytes = runBytes * <usize>kvHeads;
  const shared = heads / kvHeads;
  const stride = (<usize>length + 15) / BLOCK * 64;
  const partial = scratch + 2 * stride;
  const scale = f32x4.splat(1 / sqrt<f32>(<f32>headDim));
  for (let head = 0; head < heads; head += 2) {
    const two = head + 1 < heads && (head + 1) / shared == head / shared;
    const at = <usize>(head / shared) * runBytes;
    const laneQuery = query + <usize>head * headBytes;
    const to = output + <usize>head * headBytes;
    const other = to + headBytes;
    for (let from = 0, index = 0; from < length; from += <i32>BLOCK, index++) {
      const run = blockOf(keys, index, blockBytes, paged) + at;
      const last = min<i32>(length, from + <i32>BLOCK);
      for (let position = from; position < last; position += 4) {
        const key = run + (<usize>position % BLOCK) * headBytes;
        const score = scratch + (<usize>position << 2);
        if (two) {
          partialScoresTwo<f32>(laneQuery, laneQuery + headBytes, key, headDim, partial);
          v128.store(score + stride, f32x4.mul(sumEach(partial + 128), scale));
        } else partialScores<f32>(laneQuery, key, headDim, partial);
        v128.store(score, f32x4.mul(sumEach(partial), scale));
      }
    }
    for (let i: usize = 0; i < headBytes; i += 16) {
      v128.store(to + i, f32x4.splat(0));
      if (two) v128.store(other + i, f32x4.splat(0));
    }
    softmaxUnscaled(scratch, length, partial);
    const sum = load<f32>(partial, 4);
    if (two) softmaxUnscaled(scratch + stride, length, partial);
    const otherSum = load<f32>(partial, 4);
    for (let from = 0, index = 0; from < length; from += <i32>BLOCK, index++) {
      const run = blockOf(values, index, blockBytes, paged) + at;
      const count = min<i32>(length - from, <i32>BLOCK);
      const weights = scratch + (<usize>from << 2);
      if (two && count == <i32>BLOCK) mixTwo<f32>(weights, weights + stride, run, headDim, to, other);
      else {
        mix<f32>(weights, count, run, headDim, to, 0);
        if (two) mix<f32>(weights + stride, count, run, headDim, other, 0);
      }
    }
    divide(to, headBytes, sum);
    if (two) divide(other, headBytes, otherSum);
    else head--;
  }
}

function divide(at: usize, bytes: usize, by: f32): void {
  const factor = f32x4.splat(1 / by);
  for (let i: usize = 0; i < bytes; i += 16) v128.store(at + i, f32x4.mul(v128.load(at + i), factor));
}

/** `keys` and `values`: the first block. */
export function dense(
  query: usize,
  keys: usize,
  values: usize,
  heads: i32,
  kvHeads: i32,
  headDim: usize,
  length: i32,
  output: usize,
  scratch: usize,
): void {
  attend(query, keys, values, heads, kvHeads, headDim, length, output, scratch, false);
}

/** `keys` and `values`: a table with the address of every block. */
export function paged(
  query: usize,
  keys: usize,
  values: usize,
  heads: i32,
  kvHeads: i32,
  headDim: usize,
  length: i32,
  output: usize,
  scratch: usize,
): void {
  attend(query, keys, values, heads, kvHeads, headDim, length, output, scratch, true);
}
