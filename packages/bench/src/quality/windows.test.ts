import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cutWindows, firstPositions } from './windows.ts';

describe('cutWindows', () => {
  it('cuts in full windows and a rest', () => {
    expect(cutWindows([1, 2, 3, 4, 5], 2)).toEqual([
      { tokens: [1, 2], firstScoredRow: 0 },
      { tokens: [3, 4], firstScoredRow: 0 },
    ]);
  });

  it('puts the prefix in front of each, and then scores every token once', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(), { minLength: 1, maxLength: 60 }),
        fc.integer({ min: 3, max: 20 }),
        (ids, length) => {
          const windows = cutWindows(ids, length, [7]);
          expect(windows.flatMap(({ tokens, firstScoredRow }) => tokens.slice(firstScoredRow + 1))).toEqual(ids);
          for (const { tokens } of windows) {
            expect(tokens[0]).toBe(7);
            expect(tokens.length).toBeLessThanOrEqual(length);
          }
        },
      ),
    );
  });

  it('leaves out what cannot score', () => {
    expect(cutWindows([1], 8)).toEqual([]);
    expect(cutWindows([], 8, [7])).toEqual([]);
  });
});

describe('firstPositions', () => {
  it('keeps as many scored positions as asked for, or all, and changes none of them', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(), { minLength: 2, maxLength: 60 }),
        fc.integer({ min: 3, max: 20 }),
        fc.integer({ min: 0, max: 80 }),
        fc.constantFrom([], [7], [7, 8]),
        (ids, length, positions, prefix) => {
          const windows = cutWindows(ids, length, prefix);
          const scored = (all: typeof windows) =>
            all.flatMap(({ tokens, firstScoredRow }) => tokens.slice(firstScoredRow + 1));
          const kept = firstPositions(windows, positions);
          expect(scored(kept)).toEqual(scored(windows).slice(0, positions));
          for (const [index, { tokens }] of kept.entries()) {
            expect(windows[index]?.tokens.slice(0, tokens.length)).toEqual(tokens);
          }
        },
      ),
    );
  });
});
