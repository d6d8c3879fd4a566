// Byte-level BPE. Memory, in this order: the id of each byte, the merges by rank (left, right, result), a hash table, and then room that holds
// the vocabulary's text while the tables are made, and later the word at hand. The hash table is first that of the tokens by their text, with
// which the merges are looked up, and then that of the merges by their pairs.

// The ids of the 256 bytes, and room for one symbol.
const SYMBOL: usize = 1024;
const LISTS: usize = 1032;

const NONE: i32 = -1;
const GONE: i32 = -2;

let seed: u32 = 0;
let tokenCount: i32 = 0;
let mergeCount: i32 = 0;
let lefts: usize = 0;
let rights: usize = 0;
let results: usize = 0;
let table: usize = 0;
let mask: u32 = 0;
let room: usize = 0;
let tokenEnds: usize = 0;
let tokenBytes: usize = 0;

/**
 * Makes room for a vocabulary. Returns the address for the uint32 ends of its tokens, with their bytes right behind; 0 when the memory
 * cannot hold it.
 */
export function prepare(tokens: i32, bytes: i32, merges: i32, hashSeed: i32): usize {
  seed = <u32>hashSeed;
  tokenCount = tokens;
  mergeCount = 0;
  const slots = slotsFor(max(tokens, merges));
  mask = slots - 1;
  const list = <u64>merges * 4;
  const roomAt = <u64>LISTS + list * 3 + <u64>slots * 4;
  if (!hold(roomAt + <u64>tokens * 4 + <u64>bytes)) return 0;
  lefts = LISTS;
  rights = lefts + <usize>list;
  results = rights + <usize>list;
  table = results + <usize>list;
  room = <usize>roomAt;
  tokenEnds = room;
  tokenBytes = tokenEnds + (<usize>tokens << 2);
  clearTable();
  return tokenEnds;
}

function clearTable(): void {
  memory.fill(table, 0, (<usize>mask + 1) << 2);
}

/** A power of two, at least 1.5 times `entries`. */
function slotsFor(entries: i32): u32 {
  let slots: u32 = 16;
  while (<u64>slots * 2 < <u64>entries * 3) slots *= 2;
  return slots;
}

function hold(bytes: u64): bool {
  const pages = <i64>((bytes + 65535) >> 16);
  if (pages > 65536) return false;
  const missing = <i32>pages - memory.size();
  return missing <= 0 || memory.grow(missing) >= 0;
}

/** Indexes the tokens by their text, and the bytes by their tokens. Returns a token whose text another one has, or -1. */
export function indexTokens(): i32 {
  for (let id = 0; id < tokenCount; id++) {
    const from = tokenStart(id);
    const length = tokenEnd(id) - from;
    let slot = hash(seed, from, length) & mask;
    for (let other = entry(slot); other != NONE; other = entry(slot)) {
      if (isText(other, from, length, 0, 0)) return id;
      slot = (slot + 1) & mask;
    }
    store<i32>(table + (<usize>slot << 2), id + 1);
  }
  // Visible characters of Latin-1 stand for themselves, the other bytes for U+0100 and up, in order.
  let moved: u32 = 256;
  for (let byte: u32 = 0; byte < 256; byte++) {
    const visible = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    const point = visible ? byte : moved++;
    store<u8>(SYMBOL, point < 128 ? point : 0xc0 | (point >> 6));
    store<u8>(SYMBOL, 0x80 | (point & 63), 1);
    store<i32>(byte << 2, find(SYMBOL, point < 128 ? 1 : 2, 0, 0));
  }
  return NONE;
}

/** Where `addMerges` finds its texts: behind all else. 0 when the memory cannot hold so many bytes. */
export function mergeRoom(bytes: i32): usize {
  const at = ((tokenCount == 0 ? tokenBytes : tokenEnd(tokenCount - 1)) + 7) & ~7;
  return hold(<u64>at + <u64>bytes) ? at : 0;
}

/**
 * Adds merges in the order of their ranks; each is written as `left right`. Their ends count from `base` before `bytes`. Returns the number
 * of one that fits no tokens, or -1.
 */
export function addMerges(ends: usize, bytes: usize, base: u32, count: i32): i32 {
  let from = bytes;
  for (let i = 0; i < count; i++) {
    const end = bytes + <usize>(load<u32>(ends + (<usize>i << 2)) - base);
    let space = from + 1;
    while (space < end && load<u8>(space) != 32) space++;
    if (space >= end) return i;
    const leftBytes = space - from;
    const rightBytes = end - space - 1;
    const left = find(from, leftBytes, 0, 0);
    const right = find(space + 1, rightBytes, 0, 0);
    const result = find(from, leftBytes, space + 1, rightBytes);
    if (left == NONE || right == NONE || result == NONE) return i;
    const rank = <usize>mergeCount << 2;
    store<i32>(lefts + rank, left);
    store<i32>(rights + rank, right);
    store<i32>(results + rank, result);
    mergeCount++;
    from = end;
  }
  return NONE;
}

/** To be called behind the last merge: from then on words can be encoded, and the texts are gone. */
export function indexMerges(): void {
  clearTable();
  for (let rank = 0; rank < mergeCount; rank++) {
    const at = <usize>rank << 2;
    // A pair that is listed twice has its last rank.
    store<i32>(pairSlot(load<i32>(lefts + at), load<i32>(rights + at)), rank + 1);
  }
}

// @ts-ignore: decorator
@inline
function tokenStart(id: i32): usize {
  return id == 0 ? tokenBytes : tokenEnd(id - 1);
}

// @ts-ignore: decorator
@inline
function tokenEnd(id: i32): usize {
  return tokenBytes + <usize>load<u32>(tokenEnds + (<usize>id << 2));
}

// @ts-ignore: decorator
@inline
function entry(slot: u32): i32 {
  return load<i32>(table + (<usize>slot << 2)) - 1;
}

/** The token whose text is two pieces, one behind the other, or -1. */
function find(first: usize, firstBytes: usize, second: usize, secondBytes: usize): i32 {
  let slot = hash(hash(seed, first, firstBytes), second, secondBytes) & mask;
  for (let id = entry(slot); id != NONE; id = entry(slot)) {
    if (isText(id, first, firstBytes, second, secondBytes)) return id;
    slot = (slot + 1) & mask;
  }
  return NONE;
}

function isText(id: i32, first: usize, firstBytes: usize, second: usize, secondBytes: usize): bool {
  const at = tokenStart(id);
  if (tokenEnd(id) - at != firstBytes + secondBytes) return false;
  return memory.compare(at, first, firstBytes) == 0 && memory.compare(at + firstBytes, second, secondBytes) == 0;
}

/** Goes on from `start`, so that the hash of two pieces is that of the whole. */
function hash(start: u32, from: usize, bytes: usize): u32 {
  let sum = start;
  for (const end = from + bytes; from < end; from++) {
    sum = (sum ^ <u32>load<u8>(from)) * 0x01000193;
    sum ^= sum >> 15;
  }
  return sum;
}

/** The slot that holds the rank of a pair, plus one; a slot with 0 when it is no merge. */
function pairSlot(left: i32, right: i32): usize {
  let sum = (seed ^ <u32>left) * 0x9e3779b1;
  sum = ((sum ^ (sum >> 15)) + <u32>right) * 0x85ebca6b;
  sum ^= sum >> 13;
  let slot = sum & mask;
  for (let rank = entry(slot); rank != NONE; rank = entry(slot)) {
    const at = <usize>rank << 2;
    if (load<i32>(lefts + at) == left && load<i32>(rights + at) == right) break;
    slot = (slot + 1) & mask;
  }
  return table + (<usize>slot << 2);
}

// A word of n bytes: its bytes, then per byte an int32 each of token, next and previous, and a heap of at most 2n merges to do, each a uint64
// of rank and place, so that the smallest rank comes first, and the leftmost of equal ranks.
let wordBytes: usize = 0;
let ids: usize = 0;
let nexts: usize = 0;
let previous: usize = 0;
let heap: usize = 0;
let heapSize: i32 = 0;

/** The address for a word of at most so many bytes; 0 when the memory cannot hold it. */
export function wordRoom(bytes: i32): usize {
  if (<usize>bytes <= wordBytes) return room;
  const size = (<u64>bytes + 7) & ~7;
  if (!hold(<u64>room + 8 + size * 29)) return 0;
  wordBytes = <usize>size;
  room = (room + 7) & ~7;
  ids = room + wordBytes;
  nexts = ids + wordBytes * 4;
  previous = nexts + wordBytes * 4;
  heap = previous + wordBytes * 4;
  return room;
}

/** Where `encode` puts its tokens. */
export function tokensAt(): usize {
  return ids;
}

/** Encodes the word of so many bytes. Returns how many tokens there are: bytes that have none are left out. */
export function encode(length: i32): i32 {
  heapSize = 0;
  for (let i = 0; i < length; i++) {
    store<i32>(ids + (<usize>i << 2), load<i32>(<usize>load<u8>(room + <usize>i) << 2));
    store<i32>(nexts + (<usize>i << 2), i + 1);
    store<i32>(previous + (<usize>i << 2), i - 1);
    if (i > 0) push(i - 1, i);
  }
  while (heapSize > 0) {
    const next = pop();
    const rank = <usize>(next >> 32) << 2;
    const at = <i32>next;
    const behind = load<i32>(nexts + (<usize>at << 2));
    // Other merges may have changed what is there.
    if (
      load<i32>(ids + (<usize>at << 2)) != load<i32>(lefts + rank) ||
      behind >= length ||
      load<i32>(ids + (<usize>behind << 2)) != load<i32>(rights + rank)
    )
      continue;
    const after = load<i32>(nexts + (<usize>behind << 2));
    const before = load<i32>(previous + (<usize>at << 2));
    store<i32>(ids + (<usize>at << 2), load<i32>(results + rank));
    store<i32>(ids + (<usize>behind << 2), GONE);
    store<i32>(nexts + (<usize>at << 2), after);
    if (after < length) {
      store<i32>(previous + (<usize>after << 2), at);
      push(at, after);
    }
    if (before >= 0) push(before, at);
  }
  let count = 0;
  for (let i = 0; i < length; i = load<i32>(nexts + (<usize>i << 2))) {
    const id = load<i32>(ids + (<usize>i << 2));
    if (id >= 0) store<i32>(ids + (<usize>(count++) << 2), id);
  }
  return count;
}

/** Puts the merge of two neighbours on the heap, if there is one. */
function push(at: i32, behind: i32): void {
  const slot = pairSlot(load<i32>(ids + (<usize>at << 2)), load<i32>(ids + (<usize>behind << 2)));
  const rank = load<i32>(slot) - 1;
  if (rank < 0) return;
  const item = (<u64>rank << 32) | <u64>at;
  let place = heapSize++;
  while (place > 0) {
    const parent = (place - 1) >> 1;
    const other = load<u64>(heap + (<usize>parent << 3));
    if (other <= item) break;
    store<u64>(heap + (<usize>place << 3), other);
    place = parent;
  }
  store<u64>(heap + (<usize>place << 3), item);
}

function pop(): u64 {
  const first = load<u64>(heap);
  const item = load<u64>(heap + (<usize>--heapSize << 3));
  let place = 0;
  for (;;) {
    let child = place * 2 + 1;
    if (child >= heapSize) break;
    if (child + 1 < heapSize && load<u64>(heap + (<usize>(child + 1) << 3)) < load<u64>(heap + (<usize>child << 3))) child++;
    const other = load<u64>(heap + (<usize>child << 3));
    if (other >= item) break;
    store<u64>(heap + (<usize>place << 3), other);
    place = child;
  }
  store<u64>(heap + (<usize>place << 3), item);
  return first;
}
