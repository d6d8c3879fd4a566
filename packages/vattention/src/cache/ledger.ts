import { type KvMemory, LlmoptError } from '@llmopt/core';
import type { TokenTrie } from '../prefix/tokenTrie.ts';
import type { Groups } from './groups.ts';
import { neededTokens, type Slot } from './slots.ts';

export interface LedgerOptions {
  readonly slots: readonly Slot[];
  readonly groups: Groups;
  readonly memory: KvMemory | undefined;
  readonly trie: TokenTrie;
  readonly budgetBytes: number;
  /** Bytes that may stay without a token of a sequence. */
  readonly warmBytes: number;
  readonly eagerTokens: number;
  readonly capacity: number;
}

/** Groups that slots must keep, by slot. */
export type Floors = ReadonlyMap<Slot, number>;

/** Who has how much memory, within the budget. Every number is counted anew from `mapped`, so that none can drift. */
export interface Ledger {
  committed(): number;
  /** Bytes without a token of a sequence, and not about to get one. */
  warm(): number;
  /**
   * Free slots in which so many groups have room beside what sequences were promised, if all else were given back, with so many bytes to spare.
   */
  admitting(need: number, spareBytes: number): Slot[];
  /**
   * Gives every slot so many groups at least: all of them, or none.
   * @throws LLMOPT_KV_BUDGET when sequences have the memory, and what committing throws
   */
  grow(targets: Floors): void;
  /** Commits a group for the sequence that will need one first, if memory is free. True when it did. */
  growAhead(): boolean;
  /** Gives back what is over the warm bytes, in so many steps at most, of which each is for one slot. */
  keepWarmBytes(mostTimes?: number): void;
  /** Gives memory back until at most so many bytes are committed that no sequence needs; returns how many it gave back. */
  trim(bytes: number): number;
  readonly counts: { grows: number; releases: number; failedReleases: number };
}

export function createLedger(options: LedgerOptions): Ledger {
  const { slots, groups, memory, trie, budgetBytes, warmBytes, eagerTokens, capacity } = options;
  const { groupsFor, tokensIn, bytesOf, groupsWithin } = groups;
  const counts = { grows: 0, releases: 0, failedReleases: 0 };

  const sum = (bytes: (slot: Slot) => number) => slots.reduce((total, slot) => total + bytes(slot), 0);
  const committed = () => sum(({ mapped }) => bytesOf(mapped));
  const needed = (slot: Slot) => (slot.taken ? groupsFor(neededTokens(slot)) : 0);
  // A sequence that was admitted gets its prompt and one token more: what another one is admitted to must not stop its next step.
  const promised = (slot: Slot) =>
    slot.taken ? groupsFor(Math.min(capacity, Math.max(neededTokens(slot), slot.promised) + 1)) : 0;
  const ahead = (slot: Slot) => Math.min(capacity, Math.max(neededTokens(slot), slot.promised) + eagerTokens);
  const wanted = (slot: Slot) => (slot.taken ? groupsFor(ahead(slot)) : 0);
  const over = ({ mapped }: Slot, floor: number) => Math.max(0, bytesOf(mapped) - bytesOf(floor));
  const warm = () => sum((slot) => over(slot, wanted(slot)));
  const isManaged = memory?.giveBack === 'madvise';
  // Without a memory that is managed, the books still say who may write how much.
  const canReclaim = isManaged || memory === undefined;
  const outstanding = () => sum((slot) => Math.max(0, bytesOf(promised(slot)) - bytesOf(slot.mapped)));
  const oldestFirst = () => [...slots].sort((a, b) => a.usedAt - b.usedAt || b.id - a.id);

  /** Leaves a slot so many groups. False when the system refuses: the tokens behind are lost, and the memory is still there. */
  function shrink(slot: Slot, left: number): boolean {
    if (!canReclaim) return false;
    const tokens = tokensIn(left);
    if (!slot.taken) trie.truncate(slot.id, tokens);
    try {
      memory?.release(slot.id, tokens);
    } catch {
      counts.failedReleases++;
      return false;
    }
    slot.mapped = left;
    counts.releases++;
    return true;
  }

  /** Gives back so many bytes, or somewhat more, in so many steps at most; returns how many it were. */
  function giveBack(bytes: number, floorOf: (slot: Slot) => number, mostTimes = Number.POSITIVE_INFINITY): number {
    const order = oldestFirst();
    const refusing = new Set<Slot>();
    let left = bytes;
    let times = 0;
    const from = (slot: Slot, floor: number) => {
      if (left <= 0 || times === mostTimes || refusing.has(slot) || slot.mapped <= floor) return;
      const before = bytesOf(slot.mapped);
      times++;
      if (shrink(slot, Math.max(floor, groupsWithin(before - left)))) left -= before - bytesOf(slot.mapped);
      else refusing.add(slot);
    };
    // First what holds no tokens, then the tokens of sequences that ended, then what was committed ahead.
    for (const slot of order)
      from(slot, Math.max(floorOf(slot), slot.taken ? wanted(slot) : groupsFor(trie.length(slot.id))));
    for (const slot of order) if (!slot.taken) from(slot, floorOf(slot));
    for (const slot of order) from(slot, floorOf(slot));
    return bytes - left;
  }

  return {
    counts,
    committed,
    warm,
    admitting(need, spareBytes) {
      const reclaimable = canReclaim ? sum((slot) => over(slot, promised(slot))) : 0;
      const room = budgetBytes - committed() - outstanding() + reclaimable - spareBytes;
      // What cannot be given back is of use in its own slot alone.
      const extra = (slot: Slot) => bytesOf(need) - (canReclaim ? 0 : Math.min(bytesOf(need), bytesOf(slot.mapped)));
      return slots.filter((slot) => !slot.taken && extra(slot) <= room);
    },
    grow(targets) {
      const growing = [...targets].filter(([slot, target]) => target > slot.mapped);
      if (growing.length === 0) return;
      const floorOf = (slot: Slot) => Math.max(needed(slot), targets.get(slot) ?? 0);
      const extra = growing.reduce((total, [slot, target]) => total + bytesOf(target) - bytesOf(slot.mapped), 0);
      const shortage = () => committed() + extra - budgetBytes;
      if (shortage() > 0) {
        const reclaimable = canReclaim ? sum((slot) => over(slot, floorOf(slot))) : 0;
        if (reclaimable >= shortage()) giveBack(shortage(), floorOf);
        if (shortage() > 0) throw outOfBudget(shortage(), budgetBytes);
      }
      const before = growing.map(([slot]) => slot.mapped);
      for (const [at, [slot, target]] of growing.entries()) {
        slot.mapped = target;
        try {
          memory?.commit(slot.id, tokensIn(before[at]!), tokensIn(target));
        } catch (cause) {
          for (const [done, [grown]] of growing.slice(0, at + 1).entries()) shrink(grown, before[done]!);
          throw commitFailed(slot.id, cause);
        }
      }
      counts.grows += growing.reduce((total, [, target], at) => total + target - before[at]!, 0);
    },
    growAhead() {
      if (eagerTokens === 0) return false;
      const free = budgetBytes - committed() - outstanding();
      const lacking = slots
        .filter((slot) => slot.taken && slot.mapped < groupsFor(Math.min(capacity, neededTokens(slot) + eagerTokens)))
        .sort((a, b) => tokensIn(a.mapped) - neededTokens(a) - (tokensIn(b.mapped) - neededTokens(b)));
      const slot = lacking.find(({ mapped }) => bytesOf(mapped + 1) - bytesOf(mapped) <= free);
      if (slot) this.grow(new Map([[slot, slot.mapped + 1]]));
      return slot !== undefined;
    },
    keepWarmBytes(mostTimes) {
      const excess = warm() - warmBytes;
      if (isManaged && excess > 0) giveBack(excess, wanted, mostTimes);
    },
    trim(bytes) {
      const unneeded = sum((slot) => over(slot, needed(slot)));
      return isManaged ? giveBack(Math.max(0, unneeded - bytes), needed) : 0;
    },
  };
}

const outOfBudget = (shortage: number, budgetBytes: number) =>
  new LlmoptError(
    'LLMOPT_KV_BUDGET',
    `The sequences that run have the budget of ${budgetBytes} bytes; ${shortage} more are needed.`,
    { where: { budgetBytes, shortage }, hint: 'Let a sequence end first, or raise budgetBytes of vattention.' },
  );

const commitFailed = (slot: number, cause: unknown) =>
  LlmoptError.isInstance(cause)
    ? cause
    : new LlmoptError('LLMOPT_OUT_OF_MEMORY', `Memory of slot ${slot} could not be committed.`, {
        where: { slot },
        hint: 'Lower budgetBytes of vattention, or run fewer sequences.',
        cause,
      });
