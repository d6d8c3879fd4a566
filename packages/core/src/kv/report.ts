import type { MemoryReport } from '../backends/backend.ts';
import type { KvCache } from './kvCache.ts';

/** What the books of a cache say, for a backend whose memory follows them. */
export function kvReport(kv: KvCache): MemoryReport['kv'] {
  const { reserved, committed, live } = kv.bytes();
  return { reservedBytes: reserved, committedBytes: committed, liveBytes: live };
}
