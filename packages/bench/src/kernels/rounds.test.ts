import { describe, expect, it } from 'vitest';
import { measureRounds, stepsFor } from './rounds.ts';

describe('measureRounds', () => {
  it('gives everyone a turn per round, in turning order, and drops the first round', async () => {
    const seen: string[] = [];
    const contestant = (name: string) => ({
      name,
      measure: async () => seen.push(name),
    });
    const samples = await measureRounds(['a', 'b', 'c'].map(contestant), 3);
    expect(seen.join('')).toBe('cbaabccbaabc');
    // The number of each call: 1 to 3 were the warm-up.
    expect(samples).toEqual([
      [4, 9, 10],
      [5, 8, 11],
      [6, 7, 12],
    ]);
  });

  it('stops at the first failure', async () => {
    let calls = 0;
    const measure = async () => {
      if (++calls === 3) throw new Error('enough');
      return 1;
    };
    await expect(measureRounds([{ name: 'a', measure }], 10)).rejects.toThrow('enough');
    expect(calls).toBe(3);
  });
});

it('repeats short steps more often than long ones', () => {
  expect([0.01, 4, 10, 1000].map(stepsFor)).toEqual([20, 10, 4, 3]);
});
