import {
  bytesPerToken,
  checkCapacity,
  type KvCache,
  type KvContext,
  type KvLayout,
  type KvMemory,
  LlmoptError,
} from '@llmopt/core';
import type { Settings } from '../options.ts';
import { tokenTrie } from '../prefix/tokenTrie.ts';
import { type Choice, choose } from './choose.ts';
import { groupsOf } from './groups.ts';
import { createLedger } from './ledger.ts';
import { policyLine } from './policy.ts';
import { freeSlots, type Slot } from './slots.ts';

export interface VattentionStats {
  /** Address space of all slots. */
  reservedBytes: number;
  /** Memory that is committed, by the books: whole groups. */
  committedBytes: number;
  /** Memory of tokens of sequences that run. */
  liveBytes: number;
  /** Committed, without a token of a sequence that runs or a prompt that was admitted, and not ahead of one. */
  warmBytes: number;
  /** What the operating system says, where it can be asked. */
  residentBytes?: number;
  budgetBytes: number;
  /** Groups that were committed. */
  grows: number;
  /** Times that memory of a slot was given back. */
  releases: number;
  /** Times that the system did not take it. */
  failedReleases: number;
  /** Sequences that began with what another one had left, and how many tokens that were. */
  reuses: number;
  reusedTokens: number;
  /** Of these, how many had to be copied. */
  copies: number;
  trims: number;
}

/** Keys and values of the beginning of a sequence. */
export interface SequenceState {
  readonly tokens: readonly number[];
  readonly promptLength: number;
  readonly bytes: Uint8Array;
}

/** A KV cache whose memory follows the tokens in it. */
export interface ManagedCache {
  readonly kv: KvCache;
  trim(bytes: number): number;
  stats(): VattentionStats;
  /** The longest beginning of these tokens that a slot holds; undefined when there is none. @throws LLMOPT_KV_FILE without a memory */
  read(tokens: readonly number[]): SequenceState | undefined;
  /** Bytes of keys and values of so many tokens. @throws LLMOPT_KV_FILE without a memory */
  sequenceBytes(tokens: number): number;
  /** Puts a sequence into a free slot, unless a slot holds it, for the next one that begins like it. @throws LLMOPT_SLOTS_EXHAUSTED, LLMOPT_KV_BUDGET, LLMOPT_KV_FULL */
  write(state: SequenceState): void;
}

/** @throws LLMOPT_KV_BUDGET when the budget is less than a group */
export function createManagedCache(layout: KvLayout, context: KvContext, settings: Settings): ManagedCache {
  const { memory, promptsDiffer } = context;
  const { prefixReuse, eagerTokens, watermark } = settings;
  const groups = groupsOf(layout, memory, settings.groupBytes);
  const { groupsFor, bytesOf } = groups;
  const reservedBytes = layout.slots * bytesOf(groups.perSlot);
  const budgetBytes = Math.min(settings.budgetBytes ?? reservedBytes, reservedBytes);
  const warmBytes =
    settings.reclaim === 'eager' ? 0 : Math.min(settings.warmBytes ?? Math.floor(budgetBytes / 4), budgetBytes);
  if (budgetBytes < bytesOf(1)) {
    throw new LlmoptError('LLMOPT_KV_BUDGET', `A budget of ${budgetBytes} bytes holds no group of ${bytesOf(1)}.`, {
      where: { budgetBytes, groupBytes: bytesOf(1) },
      hint: 'Raise budgetBytes of vattention, or lower groupBytes.',
    });
  }
  const slots = freeSlots(layout.slots);
  const trie = tokenTrie();
  const { capacity } = layout;
  const ledger = createLedger({ slots, groups, memory, trie, budgetBytes, warmBytes, eagerTokens, capacity });
  const perToken = bytesPerToken(layout);
  const counts = { reuses: 0, reusedTokens: 0, copies: 0, trims: 0 };
  let clock = 0;
  /** Until memory is recycled: the warm bytes, or what was to be trimmed to. */
  let mostWarmBytes = warmBytes;

  const growsFreely = (slot: Slot, need: number) =>
    bytesOf(need) - bytesOf(slot.mapped) <= budgetBytes - ledger.committed();

  /** Tells the trie what a sequence has gained since it was asked last. */
  function note({ id, sequence, length }: Slot): void {
    if (prefixReuse && sequence) trie.extend(id, sequence.tokens, length);
  }

  /** Copies what a choice says; false when there is no memory for it. */
  function copied({ slot, source, common }: Choice): boolean {
    if (!source) return true;
    try {
      ledger.grow(
        new Map([
          [slot, groupsFor(common)],
          [source, groupsFor(common)],
        ]),
      );
      memory!.copy(source.id, slot.id, common);
      counts.copies++;
      return true;
    } catch {
      return false;
    }
  }

  const admitting = (need: number) =>
    ledger.admitting(need, slots.some(({ taken }) => taken) ? watermark * budgetBytes : 0);

  const kv: KvCache = {
    layout,
    policy: policyLine(settings, { groupBytes: groups.groupBytes, budgetBytes, warmBytes, memory }),
    acquire(sequence) {
      const tokens = sequence?.tokens.length ?? 0;
      const need = groupsFor(Math.min(tokens, capacity));
      const free = admitting(need);
      if (free.length === 0) {
        if (bytesOf(need) > budgetBytes || slots.every(({ taken }) => !taken))
          throw neverFits(
            tokens,
            bytesOf(need),
            budgetBytes,
            'Use a shorter prompt, or raise budgetBytes of vattention.',
          );
        return undefined;
      }
      for (const slot of slots) note(slot);
      const canCopy = memory !== undefined;
      const candidates = { slots, free, trie, need, growsFreely, groupsFor, canCopy, promptsDiffer };
      const choice = choose(sequence, candidates);
      const { slot } = choice;
      if (choice.source) trie.truncate(slot.id, 0);
      const common = copied(choice) ? choice.common : 0;
      trie.truncate(slot.id, common);
      Object.assign(slot, {
        ...{ taken: true, sequence, length: common, reserved: common, usedAt: ++clock },
        ...{ promised: Math.min(tokens, capacity), promptLength: sequence?.promptLength ?? 0 },
      });
      if (common > 0) {
        counts.reuses++;
        counts.reusedTokens += common;
      }
      ledger.keepWarmBytes();
      return slot.id;
    },
    release(id) {
      const slot = slots[id];
      if (!slot?.taken) return;
      note(slot);
      Object.assign(slot, { taken: false, sequence: undefined, length: 0, reserved: 0, promised: 0, usedAt: ++clock });
      ledger.keepWarmBytes();
    },
    isAcquired: (id) => slots[id]?.taken === true,
    length: (id) => slots[id]?.length ?? 0,
    reserve(lengths) {
      checkCapacity(layout, lengths);
      const targets = new Map<Slot, number>();
      for (const [id, length] of lengths) {
        const slot = slots[id];
        if (!slot?.taken) throw notTaken(id);
        targets.set(slot, groupsFor(length));
      }
      ledger.grow(targets);
      for (const [id, length] of lengths) slots[id]!.reserved = length;
    },
    commit(id, length) {
      const slot = slots[id];
      if (!slot?.taken) return;
      slot.length = length;
      slot.mapped = Math.max(slot.mapped, groupsFor(length));
      if (length >= slot.promised) slot.promised = 0;
    },
    truncate(id, length) {
      const slot = slots[id];
      if (!slot?.taken || length >= slot.length) return;
      Object.assign(slot, { length, reserved: length });
      trie.truncate(id, length);
      ledger.keepWarmBytes();
    },
    recycled() {
      for (const slot of slots) {
        trie.truncate(slot.id, 0);
        slot.mapped = 0;
      }
      mostWarmBytes = warmBytes;
    },
    recycleDue: () => memory?.giveBack === 'recycle' && ledger.committed() > mostWarmBytes,
    bytes: () => ({ reserved: reservedBytes, committed: ledger.committed(), live: liveBytes() }),
    idle() {
      try {
        if (ledger.growAhead()) return true;
      } catch {
        // The step that needs it will try again, and say why it failed.
        return false;
      }
      const before = ledger.warm();
      ledger.keepWarmBytes(1);
      return ledger.warm() < before && ledger.warm() > warmBytes;
    },
  };

  function readable(): KvMemory {
    if (memory) return memory;
    throw new LlmoptError('LLMOPT_KV_FILE', 'This backend does not let keys and values be read and written.', {
      hint: 'Use the wasm backend.',
    });
  }
  const liveBytes = () => slots.reduce((total, { length }) => total + length, 0) * perToken;

  return {
    kv,
    trim(bytes) {
      counts.trims++;
      mostWarmBytes = Math.min(mostWarmBytes, bytes);
      return ledger.trim(bytes);
    },
    stats: () => ({
      ...{ reservedBytes, committedBytes: ledger.committed(), liveBytes: liveBytes(), warmBytes: ledger.warm() },
      residentBytes: memory?.residentBytes(),
      budgetBytes,
      ...ledger.counts,
      ...counts,
    }),
    read(tokens) {
      const from = readable();
      for (const slot of slots) note(slot);
      const [best] = trie.matches(tokens);
      if (!best) return undefined;
      const { promptLength } = slots[best.slot]!;
      return { tokens: tokens.slice(0, best.common), promptLength, bytes: from.read(best.slot, best.common) };
    },
    sequenceBytes(tokens) {
      const { ranges, rangeBytes } = readable();
      return ranges * rangeBytes(tokens);
    },
    write({ tokens, promptLength, bytes }) {
      const to = readable();
      checkCapacity(layout, new Map([[0, tokens.length]]));
      const need = groupsFor(tokens.length);
      for (const slot of slots) note(slot);
      const [held] = trie.matches(tokens);
      const isHeld = held?.common === tokens.length && slots[held.slot]!.promptLength === promptLength;
      if (isHeld) {
        slots[held.slot]!.usedAt = ++clock;
        return;
      }
      const warmest = to.giveBack === 'madvise' ? warmBytes : budgetBytes;
      if (bytesOf(need) > warmest)
        throw neverFits(tokens.length, bytesOf(need), warmest, 'Raise warmBytes of vattention, with deferred reclaim.');
      const free = admitting(need);
      if (free.length === 0) {
        throw new LlmoptError('LLMOPT_SLOTS_EXHAUSTED', 'There is no free slot with room for the sequence.', {
          hint: 'Restore it before other sequences run, or use more slots.',
        });
      }
      const slot = choose(undefined, {
        slots,
        free,
        trie,
        need,
        growsFreely,
        groupsFor,
        canCopy: true,
        promptsDiffer,
      }).slot;
      trie.truncate(slot.id, 0);
      ledger.grow(new Map([[slot, need]]));
      to.write(slot.id, tokens.length, bytes);
      trie.extend(slot.id, tokens, tokens.length);
      Object.assign(slot, { promptLength, usedAt: ++clock });
      ledger.keepWarmBytes();
    },
  };
}

const neverFits = (tokens: number, bytes: number, most: number, hint: string) =>
  new LlmoptError('LLMOPT_KV_BUDGET', `${tokens} tokens take ${bytes} bytes; there will never be more than ${most}.`, {
    where: { tokens, bytes, most },
    hint,
  });

const notTaken = (slot: number) =>
  new LlmoptError('LLMOPT_BATCH_INVALID', `Slot ${slot} is not taken.`, {
    where: { slot },
    hint: 'Acquire a slot first.',
  });
