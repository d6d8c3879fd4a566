/**
 * The memory behind a KV cache, as far as a backend lets it be managed. Keys and values of a slot lie in `ranges` ranges, one per layer for keys
 * and one for values, each reserved for the whole context and filled from the front. Memory becomes resident with the first write to it.
 */
export interface KvMemory {
  /** How memory is given back to the system; `none`: it stays until the pipeline is disposed. */
  readonly giveBack: 'madvise' | 'none';
  /** Ranges per slot: 2 · layers. */
  readonly ranges: number;
  /** Bytes of a range that so many tokens take: whole runs of tokens. */
  rangeBytes(tokens: number): number;
  /** The unit in which memory becomes resident and is given back, in bytes. */
  readonly pageBytes: number;
  /** Make the memory of tokens `from` to `to` of a slot resident. What the tokens hold is not touched. @throws LLMOPT_OUT_OF_MEMORY */
  commit(slot: number, from: number, to: number): void;
  /** Give all memory behind the first so many tokens of a slot back: whole pages, which read as zeros afterwards. */
  release(slot: number, tokens: number): void;
  /** Copy the first so many tokens of a slot to another one. */
  copy(source: number, target: number, tokens: number): void;
  /** The bytes of tokens 0 to `tokens` of a slot, range by range: `ranges · rangeBytes(tokens)`. */
  read(slot: number, tokens: number): Uint8Array;
  /** Puts back what `read` gave. */
  write(slot: number, tokens: number, bytes: Uint8Array): void;
  /** Bytes of all slots that are resident, as the operating system says; undefined where it does not. */
  residentBytes(): number | undefined;
}
