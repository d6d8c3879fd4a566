import { describe, expect, it } from 'vitest';
import { type ReplayRequest, replay } from './replay.ts';

const requests = (count: number, everyMs = 0): ReplayRequest[] =>
  Array.from({ length: count }, (_, index) => ({ atMs: index * everyMs, prompt: [index], newTokens: 2 }));

/** An engine that counts what is in flight. */
function engine(takesMs = 1) {
  let inFlight = 0;
  const seen = { most: 0, order: [] as number[] };
  const generate = async ({ prompt }: ReplayRequest) => {
    inFlight++;
    seen.most = Math.max(seen.most, inFlight);
    seen.order.push(prompt[0] as number);
    await new Promise((resolve) => setTimeout(resolve, takesMs));
    inFlight--;
    return [takesMs / 2, takesMs];
  };
  return { seen, generate };
}

describe('replay', () => {
  it('has as many requests in flight as it may, and sends all of them in their order', async () => {
    const { seen, generate } = engine();
    const progress: number[] = [];
    const { records } = await replay(generate, requests(20), {
      concurrency: 3,
      timed: false,
      onProgress: (fraction) => progress.push(fraction),
    });
    expect(seen.most).toBe(3);
    expect(seen.order).toEqual(Array.from({ length: 20 }, (_, index) => index));
    expect(records).toHaveLength(20);
    expect(records.every(({ dueMs, startMs }) => dueMs === startMs)).toBe(true);
    expect(progress.at(-1)).toBe(1);
  });

  it('waits until a request is due, and counts from then on', async () => {
    const { generate } = engine(30);
    const { records, wallMs } = await replay(generate, requests(4, 10), { concurrency: 1, timed: true });
    // The clock of timers and the one that is read differ by less than that.
    const slack = 2;
    for (const [index, { dueMs, startMs, tokenTimesMs }] of records.entries()) {
      expect(dueMs).toBe(index * 10);
      expect(startMs).toBeGreaterThan(dueMs - slack);
      expect(tokenTimesMs).toEqual([startMs + 15, startMs + 30]);
    }
    // One at a time: the last one had to wait for three others.
    expect(records[3]?.startMs).toBeGreaterThan(90 - slack);
    expect(wallMs).toBeGreaterThan(120 - slack);
  });

  it('records a request that fails, and goes on', async () => {
    const { records } = await replay(
      async ({ prompt }) => {
        if (prompt[0] === 1) throw Object.assign(new Error('no room'), { code: 'LLMOPT_KV_BUDGET' });
        if (prompt[0] === 2) throw new Error('a bug');
        return [1, 2];
      },
      requests(4),
      { concurrency: 2, timed: false },
    );
    expect(records.map(({ failure }) => failure)).toEqual([undefined, 'LLMOPT_KV_BUDGET', 'a bug', undefined]);
    expect(records[1]?.tokenTimesMs).toEqual([]);
  });
});
