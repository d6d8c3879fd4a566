import { MOST_LIST_BYTES, type StringList } from './stringList.ts';
import { wasmBase64 } from './strings.generated.ts';

/** Collects the strings of a list in their packed form. */
export interface StringListBuilder {
  /** Strings so far. */
  length(): number;
  /**
   * Takes strings as GGUF writes them, a uint64 of their bytes and then the bytes, as many as `source` holds whole and the list still wants.
   * Returns how many bytes of `source` they are.
   */
  take(source: Uint8Array): number;
  /** Takes one string. */
  push(bytes: Uint8Array): void;
  /** Whether there is room for so many more bytes. */
  fits(bytes: number): boolean;
  list(): StringList;
}

// One page of a memory; the ends of its strings take at most half of another.
const PIECE = 64 * 1024;

/** A list of `count` strings. */
export function createStringListBuilder(count: number): StringListBuilder {
  const ends = new Uint32Array(count);
  const parts: Uint8Array[] = [];
  let length = 0;
  let end = 0;
  const add = (part: Uint8Array) => {
    parts.push(part);
    end += part.length;
  };
  return {
    length: () => length,
    fits: (bytes) => end + bytes <= MOST_LIST_BYTES,
    take(source) {
      const { memory, takeStrings } = scanner();
      let from = 0;
      for (let taken = 1; taken > 0 && length < count; ) {
        const piece = source.subarray(from, from + PIECE);
        if (end + piece.length > MOST_LIST_BYTES) break;
        new Uint8Array(memory.buffer, 0, piece.length).set(piece);
        taken = takeStrings(0, piece.length, count - length, 0, PIECE, end);
        ends.set(new Uint32Array(memory.buffer, PIECE, taken), length);
        if (taken > 0) {
          const bytes = ends[length + taken - 1]! - end;
          add(new Uint8Array(memory.buffer, 0, bytes).slice());
          from += taken * 8 + bytes;
          length += taken;
        }
      }
      return from;
    },
    push(bytes) {
      add(new Uint8Array(bytes));
      ends[length++] = end;
    },
    list: () => ({ length, bytes: parts.length === 1 ? parts[0]! : concatenated(parts, end), ends }),
  };
}

function concatenated(parts: readonly Uint8Array[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

type TakeStrings = (from: number, end: number, most: number, bytes: number, ends: number, base: number) => number;

let known: { memory: WebAssembly.Memory; takeStrings: TakeStrings } | undefined;

/** WebAssembly, since a loop over a vocabulary in JavaScript would have V8 load its compilers, which take more memory than the vocabulary. */
function scanner() {
  if (known) return known;
  const memory = new WebAssembly.Memory({ initial: 2, maximum: 65536 });
  const module = new WebAssembly.Module(Buffer.from(wasmBase64, 'base64'));
  const { takeStrings } = new WebAssembly.Instance(module, { env: { memory } }).exports;
  known = { memory, takeStrings: takeStrings as TakeStrings };
  return known;
}
