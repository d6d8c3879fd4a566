/**
 * The memory behind a KV cache, as far as a backend lets it be managed. Keys and values of a slot lie in `ranges` ranges, one per layer for keys
 * and one for values, each reserved for the whole context and filled from the front. Memory becomes resident with the first write to it.
 */
export interface KvMemory {
  /**
   * How memory is given back to the system. `madvise`: by `release`. `recycle`: only all of it at once, by `Executable.recycle` of a cache that
   * has `recycled`, and `release` does nothing. `none`: it stays until the pipeline is disposed.
   */
  readonly giveBack: 'madvise' | 'recycle' | 'none';
  /** Ranges per slot: 2 · layers. */
  readonly ranges: number;
  /** Bytes of a range that so many tokens take: whole runs of tokens. */
  rangeBytes(tokens: number): number;
  /** The unit in which memory becomes resident and is given back, in bytes. */
  readonly pageBytes: number;
  /**
   * Make the memory of tokens `from` to `to` of a slot resident. What the tokens hold is not touched, even while a batch is computed.
   * @throws LLMOPT_KV_FULL
   */
  commit(slot: number, from: number, to: number): void;
  /**
   * Give all memory behind the first so many tokens of a slot back: whole pages, which read as zeros afterwards. Where memory cannot be given
   * back like this, and after the pipeline was disposed, nothing happens.
   * @throws LLMOPT_KV_MEMORY when the system refuses: all may still be resident, and none of it holds what it held
   */
  release(slot: number, tokens: number): void;
  /** Copy the first so many tokens of a slot to another one. Neither may be in a batch that is computed. @throws LLMOPT_KV_FULL */
  copy(source: number, target: number, tokens: number): void;
  /**
   * The bytes of tokens 0 to `tokens` of a slot, range by range: `ranges · rangeBytes(tokens)`. Behind the last token of its run are zeros.
   * @throws LLMOPT_KV_FULL
   */
  read(slot: number, tokens: number): Uint8Array;
  /** Puts back what `read` gave. @throws LLMOPT_KV_FULL, LLMOPT_OPTION_INVALID when so many tokens do not take so many bytes */
  write(slot: number, tokens: number, bytes: Uint8Array): void;
  /** Bytes of all slots that are resident, as the operating system says; undefined where it does not. */
  residentBytes(): number | undefined;
}
