import type { Sequence } from '@llmopt/core';

/** The books of one slot. */
export interface Slot {
  readonly id: number;
  taken: boolean;
  /** Groups that are committed, from the front. */
  mapped: number;
  /** Tokens of the sequence that has the slot; 0 when it is not taken. */
  length: number;
  /** Tokens up to which a batch on its way may write. */
  reserved: number;
  /** Tokens of a prompt that was admitted, until they are there. */
  promised: number;
  /** Of the sequence that has the slot, or had it. */
  promptLength: number;
  /** Undefined for a direct caller, of whose tokens nothing is known. */
  sequence: Sequence | undefined;
  /** Grows from one use to the next. */
  usedAt: number;
}

export const freeSlots = (count: number): Slot[] =>
  Array.from({ length: count }, (_, id) => ({
    ...{ id, taken: false, mapped: 0, length: 0, reserved: 0, promised: 0, promptLength: 0 },
    sequence: undefined,
    usedAt: 0,
  }));

/** Tokens whose memory a slot's sequence cannot do without. */
export const neededTokens = ({ length, reserved }: Slot) => Math.max(length, reserved);
