import { DEALT_ROWS, dealer, firstUnit, float, int, nextUnit, ptr } from './args';
import { mix, mixTwo, partialScores, partialScoresTwo, scaleWeights, softmaxUnscaled, sumEach } from './attentionRun';
import { exp4 } from './exp';
import { BLOCK, runBytes, scaleOf, writePosition } from './kv';

// The positions of a row are taken in chunks. Of each chunk and head comes a part, [headDim + 2] float32: the values weighted by
// e^(score - largest), largest, and the sum of these weights. Parts are merged in the order of the chunks. How long a chunk is depends
// on the length of the row alone, and one thread computes a part: so the bits do not depend on the number of threads or rows.
const SHORTEST_CHUNK: i32 = 32;
const MOST_CHUNKS: i32 = 8;
// Rows, or heads of a row, that go through a run of keys or values together, while it is in the first-level cache.
const LANES: i32 = 8;
const PARTIAL: usize = 256;

// words: 0 rows*, slots*, positions*, slotBases*, layerOffset, valuesOffset, kvHeads, headDim, 8 query, queryStride, output,
//        outputStride, 12 heads, scale, scratch, scratchStride (of a thread), 16 scoresStride, partBytes, parts, partsStride (of a row),
//        20 counter*, next counter* (0: none), key, value (0: already in the cache)
// Scratch of a thread: 8 times the scores of a chunk, with room for 8 more; 256 bytes of partial sums; 16 parts.
export function attention(args: usize, thread: i32, threads: i32): void {
  attend<f32>(args, thread, threads);
}

export function attentionInt16(args: usize, thread: i32, threads: i32): void {
  attend<i16>(args, thread, threads);
}

function attend<T>(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  const counter = dealer(ptr(args, 20), ptr(args, 21), rows);
  if (rows < DEALT_ROWS) return partsOfFewRows<T>(args, rows, thread, threads);
  // Many rows are of a prompt: neighbours share their keys and values.
  const groups = (rows + LANES - 1) / LANES;
  const units = groups * int(args, 12);
  let unit = firstUnit(counter, units, thread, threads);
  while (unit < units) {
    const first = (unit % groups) * LANES;
    const end = min<i32>(first + LANES, rows);
    for (let from = first, to = first; from < end; from = to) {
      const chunk = chunkOf(lengthOf(args, from));
      for (to = from + 1; to < end && slotOf(args, to) == slotOf(args, from) && chunkOf(lengthOf(args, to)) == chunk; ) to++;
      groupOfRows<T>(args, from, to, chunk, unit / groups, thread);
    }
    unit = nextUnit(counter, unit, units, thread, threads);
  }
}

/** Positions per chunk for a row that sees so many. */
function chunkOf(length: i32): i32 {
  let chunk = SHORTEST_CHUNK;
  while (chunk * MOST_CHUNKS < length) chunk <<= 1;
  return chunk;
}

/** Rows that follow one another in a slot; a head of theirs. */
function groupOfRows<T>(args: usize, from: i32, to: i32, chunk: i32, head: i32, thread: i32): void {
  const partBytes = ptr(args, 17);
  const whole = ptr(args, 14) + <usize>thread * ptr(args, 15) + ptr(args, 16) * LANES + PARTIAL;
  const part = whole + partBytes * LANES;
  const length = lengthOf(args, from);
  const longest = length + to - from - 1;
  const query = ptr(args, 8) + <usize>from * ptr(args, 9) + <usize>head * (ptr(args, 7) << 2);
  const kvHead = head / (int(args, 12) / int(args, 6));
  for (let first = 0; first < longest; first += chunk) {
    const target = first == 0 ? whole : part;
    partsOfLanes<T>(args, from, kvHead, first, chunk, to - from, query, ptr(args, 9), length, 1, target, partBytes, thread);
    for (let lane: usize = 0; first > 0 && lane < <usize>(to - from); lane++) {
      if (length + <i32>lane > first) merge(whole + lane * partBytes, part + lane * partBytes, ptr(args, 7));
    }
  }
  for (let row = from; row < to; row++) finish(args, row, head, whole + <usize>(row - from) * partBytes);
}

// Few rows are most likely of different slots. Heads that share keys and values go together; threads divide chunks and KV heads.
function partsOfFewRows<T>(args: usize, rows: i32, thread: i32, threads: i32): void {
  const kvHeads = int(args, 6);
  let units = 0;
  for (let row = 0; row < rows; row++) units += chunksOf(lengthOf(args, row)) * kvHeads;
  const end = (units * (thread + 1)) / threads;
  let unit = (units * thread) / threads;
  let firstOfRow = 0;
  for (let row = 0; row < rows && unit < end; row++) {
    const ofRow = chunksOf(lengthOf(args, row)) * kvHeads;
    for (; unit < min<i32>(end, firstOfRow + ofRow); unit++) {
      const inRow = unit - firstOfRow;
      partsOfChunk<T>(args, row, inRow / kvHeads, inRow % kvHeads, inRow >= ofRow - kvHeads, thread);
    }
    firstOfRow += ofRow;
  }
}

function chunksOf(length: i32): i32 {
  const chunk = chunkOf(length);
  return (length + chunk - 1) / chunk;
}

function partsOfChunk<T>(args: usize, row: i32, number: i32, kvHead: i32, last: bool, thread: i32): void {
  const headBytes = ptr(args, 7) << 2;
  const partBytes = ptr(args, 17);
  const heads = int(args, 12);
  const shared = heads / int(args, 6);
  const length = lengthOf(args, row);
  const chunk = chunkOf(length);
  if (last && ptr(args, 22)) {
    const at = <usize>kvHead * headBytes;
    const run = runOf<T>(args, row, kvHead, length - 1);
    writePosition<T>(run, run + ptr(args, 5), length - 1, ptr(args, 22) + at, ptr(args, 23) + at, ptr(args, 7));
  }
  for (let lane = 0; lane < shared; lane += LANES) {
    const head = <usize>(kvHead * shared + lane);
    const lanes = min<i32>(LANES, shared - lane);
    const query = ptr(args, 8) + <usize>row * ptr(args, 9) + head * headBytes;
    const part = partOf(args, row, number, <i32>head);
    partsOfLanes<T>(args, row, kvHead, number * chunk, chunk, lanes, query, headBytes, length, 0, part, partBytes, thread);
  }
}

/** Merges the parts of few rows; threads divide the rows. The words of attention. */
export function attentionMerge(args: usize, thread: i32, threads: i32): void {
  const rows = load<i32>(ptr(args, 0));
  if (rows >= DEALT_ROWS) return;
  const whole = ptr(args, 14) + <usize>thread * ptr(args, 15) + ptr(args, 16) * LANES + PARTIAL;
  for (let row = thread; row < rows; row += threads) {
    const chunks = chunksOf(lengthOf(args, row));
    for (let head = 0; head < int(args, 12); head++) {
      memory.copy(whole, partOf(args, row, 0, head), ptr(args, 17));
      for (let number = 1; number < chunks; number++) merge(whole, partOf(args, row, number, head), ptr(args, 7));
      finish(args, row, head, whole);
    }
  }
}

// The parts of one chunk. A lane is a row or a head; its query lies `queryStep` bytes behind that of the lane before, and it sees
// `lengthStep` positions more. A lane that sees nothing of the chunk has no part.
function partsOfLanes<T>(
  args: usize,
  row: i32,
  kvHead: i32,
  first: i32,
  chunk: i32,
  lanes: i32,
  query: usize,
  queryStep: usize,
  length: i32,
  lengthStep: i32,
  part: usize,
  partStep: usize,
  thread: i32,
): void {
  const headDim = ptr(args, 7);
  const block = runBytes<T>(headDim) * ptr(args, 6);
  const scale = f32x4.splat(float(args, 13));
  const stride = ptr(args, 16);
  const scores = ptr(args, 14) + <usize>thread * ptr(args, 15);
  const partial = scores + stride * LANES;
  const end = min<i32>(length + (lanes - 1) * lengthStep, first + chunk);
  let run = runOf<T>(args, row, kvHead, first);
  for (let from = first; from < end; from += <i32>BLOCK, run += block) {
    for (let lane = 0; lane < lanes; lane += 2) {
      const two = lane + 1 < lanes;
      // What a lane does not see is dropped later.
      const last = min<i32>(length + (lane + i32(two)) * lengthStep, from + <i32>BLOCK);
      const laneQuery = query + <usize>lane * queryStep;
      const laneScores = scores + <usize>lane * stride - (<usize>first << 2);
      for (let position = from; position < last; position += 4) {
        const key = run + (<usize>position % BLOCK) * headDim * sizeof<T>();
        const keyScale = isInteger<T>() ? f32x4.mul(scale, v128.load(scaleOf<T>(run, headDim, position))) : scale;
        const to = laneScores + (<usize>position << 2);
        if (two) {
          partialScoresTwo<T>(laneQuery, laneQuery + queryStep, key, headDim, partial);
          v128.store(to + stride, f32x4.mul(sumEach(partial + 128), keyScale));
        } else partialScores<T>(laneQuery, key, headDim, partial);
        v128.store(to, f32x4.mul(sumEach(partial), keyScale));
      }
    }
  }
  for (let lane = 0; lane < lanes; lane++) {
    const count = min<i32>(length + lane * lengthStep - first, chunk);
    if (count <= 0) continue;
    const to = part + <usize>lane * partStep;
    for (let i: usize = 0; i < headDim << 2; i += 16) v128.store(to + i, f32x4.splat(0));
    softmaxUnscaled(scores + <usize>lane * stride, count, to + (headDim << 2));
  }
  run = runOf<T>(args, row, kvHead, first) + ptr(args, 5);
  for (let from = first; from < end; from += <i32>BLOCK, run += block) {
    for (let lane = 0; lane < lanes; lane++) {
      const count = min<i32>(length + lane * lengthStep - from, <i32>BLOCK);
      if (count <= 0) continue;
      const weights = scores + <usize>lane * stride + (<usize>(from - first) << 2);
      const to = part + <usize>lane * partStep;
      if (isInteger<T>()) scaleWeights(weights, scaleOf<T>(run, headDim, 0));
      // The next lane goes with this one where both use all 16 values.
      if (lane + 1 < lanes && count == <i32>BLOCK) {
        if (isInteger<T>()) scaleWeights(weights + stride, scaleOf<T>(run, headDim, 0));
        mixTwo<T>(weights, weights + stride, run, headDim, to, to + partStep);
        lane++;
      } else mix<T>(weights, count, run, headDim, to, 0);
    }
  }
}

/** Adds a part to another, whose chunks come before. There is room for whole pairs of vectors. */
function merge(into: usize, part: usize, headDim: usize): void {
  const at = headDim << 2;
  const before = load<f32>(into + at);
  const now = load<f32>(part + at);
  const largest = max<f32>(before, now);
  const factors = exp4(f32x4.sub(f32x4.replace_lane(f32x4.splat(now), 0, before), f32x4.splat(largest)));
  const keep = i32x4.shuffle(factors, factors, 0, 0, 0, 0);
  const take = i32x4.shuffle(factors, factors, 1, 1, 1, 1);
  const sum = load<f32>(into + at, 4) * f32x4.extract_lane(keep, 0) + load<f32>(part + at, 4) * f32x4.extract_lane(take, 0);
  for (let i: usize = 0; i < at; i += 32) {
    const a = f32x4.relaxed_madd(v128.load(part + i), take, f32x4.mul(v128.load(into + i), keep));
    const b = f32x4.relaxed_madd(v128.load(part + i, 16), take, f32x4.mul(v128.load(into + i, 16), keep));
    v128.store(into + i, a);
    v128.store(into + i, b, 16);
  }
  store<f32>(into + at, largest);
  store<f32>(into + at, sum, 4);
}

/** The output of a head: its values over its sum. */
function finish(args: usize, row: i32, head: i32, whole: usize): void {
  const bytes = ptr(args, 7) << 2;
  const factor = f32x4.splat(<f32>1 / load<f32>(whole + bytes, 4));
  const output = ptr(args, 10) + <usize>row * ptr(args, 11) + <usize>head * bytes;
  for (let i: usize = 0; i < bytes; i += 16) v128.store(output + i, f32x4.mul(v128.load(whole + i), factor));
}

// @ts-ignore: decorator
@inline
function lengthOf(args: usize, row: i32): i32 {
  return load<i32>(ptr(args, 2) + (<usize>row << 2)) + 1;
}

// @ts-ignore: decorator
@inline
function slotOf(args: usize, row: i32): usize {
  return ptr(ptr(args, 3), load<u32>(ptr(args, 1) + (<usize>row << 2)));
}

/** The run of keys that a position of a row's slot is in. */
// @ts-ignore: decorator
@inline
function runOf<T>(args: usize, row: i32, kvHead: i32, position: i32): usize {
  const number = (<usize>position / BLOCK) * ptr(args, 6) + <usize>kvHead;
  return slotOf(args, row) + ptr(args, 4) + number * runBytes<T>(ptr(args, 7));
}

// @ts-ignore: decorator
@inline
function partOf(args: usize, row: i32, chunk: i32, head: i32): usize {
  return ptr(args, 18) + <usize>row * ptr(args, 19) + <usize>(chunk * int(args, 12) + head) * ptr(args, 17);
}
