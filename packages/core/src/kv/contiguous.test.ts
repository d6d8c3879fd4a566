import fc from 'fast-check';
import { expect, it } from 'vitest';
import { bytesPerToken, contiguousKvCache } from './contiguous.ts';

const layout = { layers: 2, kvHeads: 2, headDim: 8, slots: 3, capacity: 20, elementType: 'float32' } as const;

it('counts bytes per token: keys and values of all layers', () => {
  expect(bytesPerToken(layout)).toBe(2 * 2 * 2 * 8 * 4);
});

it('refuses what does not fit, and changes nothing', () => {
  const kv = contiguousKvCache(layout);
  const slot = kv.acquire()!;
  kv.commit(slot, 5);
  expect(() => kv.reserve(new Map([[slot, 21]]))).toThrow(expect.objectContaining({ code: 'LLMOPT_KV_FULL' }));
  expect(kv.length(slot)).toBe(5);
});

it('agrees with a plain model over random operations', () => {
  const operation = fc.oneof(
    fc.constant({ kind: 'acquire' } as const),
    fc.record({ kind: fc.constant('release' as const), slot: fc.nat(2) }),
    fc.record({ kind: fc.constant('commit' as const), slot: fc.nat(2), length: fc.nat(20) }),
    fc.record({ kind: fc.constant('truncate' as const), slot: fc.nat(2), length: fc.nat(20) }),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), (operations) => {
      const kv = contiguousKvCache(layout);
      const model = new Map<number, number>();
      for (const op of operations) {
        if (op.kind === 'acquire') {
          const slot = kv.acquire();
          if (model.size === layout.slots) expect(slot).toBeUndefined();
          else {
            expect(model.has(slot!)).toBe(false);
            model.set(slot!, 0);
          }
        } else if (op.kind === 'release') {
          kv.release(op.slot);
          model.delete(op.slot);
        } else if (model.has(op.slot)) {
          if (op.kind === 'commit') kv.commit(op.slot, op.length);
          else kv.truncate(op.slot, op.length);
          model.set(op.slot, op.kind === 'commit' ? op.length : Math.min(op.length, model.get(op.slot)!));
        }
        const { live, committed, reserved } = kv.bytes();
        expect(live).toBe([...model.values()].reduce((sum, length) => sum + length, 0) * bytesPerToken(layout));
        expect(live).toBeLessThanOrEqual(committed);
        expect(committed).toBeLessThanOrEqual(reserved);
        for (const slot of [0, 1, 2]) expect(kv.isAcquired(slot)).toBe(model.has(slot));
      }
    }),
  );
});
