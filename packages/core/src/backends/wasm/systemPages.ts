import fs from 'node:fs';

/** What the operating system does with the pages of a memory. Addresses are those within the memory. */
export interface SystemPages {
  readonly pageBytes: number;
  /** Gives whole pages back, which read as zeros afterwards. False when the system refused; some may be given back then. */
  discard(memory: WebAssembly.Memory, from: number, to: number): boolean;
  /** How many of these whole pages are resident; undefined where the system does not say. */
  resident(memory: WebAssembly.Memory, from: number, to: number): number | undefined;
}

let pages: SystemPages | undefined;
let asked = false;

/**
 * Asks the C library through `node:ffi`, on Linux: there is no other way to give back a part of a memory. Undefined where Node.js has no
 * `node:ffi` (it came with 26.1), or may not use it. The first call has Node.js warn, once, that `node:ffi` is experimental.
 */
export function systemPages(): SystemPages | undefined {
  if (!asked) pages = openPages();
  asked = true;
  return pages;
}

const MADV_DONTNEED = 4;
const ENTRY_BYTES = 8;
const MOST_ENTRIES = 2 ** 17;

function openPages(): SystemPages | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    const ffi = process.getBuiltinModule?.('node:ffi');
    if (!ffi) return undefined;
    const { functions } = ffi.dlopen(null, {
      madvise: { arguments: ['pointer', 'u64', 'i32'], return: 'i32' },
      getpagesize: { arguments: [], return: 'i32' },
    });
    // A shared memory never moves, and its buffer is another object after it has grown.
    const addressOf = ({ buffer }: WebAssembly.Memory) => ffi.getRawPointer(buffer as ArrayBuffer);
    const pageBytes = functions.getpagesize();
    return {
      pageBytes,
      discard: (memory, from, to) =>
        functions.madvise(addressOf(memory) + BigInt(from), BigInt(to - from), MADV_DONTNEED) === 0,
      resident: (memory, from, to) => countResident(addressOf(memory), from / pageBytes, to / pageBytes, pageBytes),
    };
  } catch {
    return undefined;
  }
}

/** Of pages `from` to `to` behind an address. An entry of the page map has its highest bit set when the page is in memory. */
function countResident(address: bigint, from: number, to: number, pageBytes: number): number | undefined {
  const firstPage = Number(address / BigInt(pageBytes));
  const entries = Buffer.alloc(Math.min(to - from, MOST_ENTRIES) * ENTRY_BYTES);
  let map: number | undefined;
  let count = 0;
  try {
    map = fs.openSync('/proc/self/pagemap', 'r');
    for (let page = from; page < to; ) {
      const wanted = Math.min(to - page, MOST_ENTRIES) * ENTRY_BYTES;
      const got = fs.readSync(map, entries, 0, wanted, (firstPage + page) * ENTRY_BYTES);
      if (got < ENTRY_BYTES) return undefined;
      for (let i = ENTRY_BYTES - 1; i < got; i += ENTRY_BYTES) count += entries[i]! >> 7;
      page += Math.floor(got / ENTRY_BYTES);
    }
    return count;
  } catch {
    return undefined;
  } finally {
    if (map !== undefined) fs.closeSync(map);
  }
}
