import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readTrace, writeTrace } from './trace.ts';
import { seededWorkload } from './workload.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmopt-trace-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe('a trace', () => {
  it('is read as it was written', async () => {
    const file = join(folder, 'a.jsonl');
    const arrivals = { perSecond: 2 };
    const requests = seededWorkload({ requests: 50, arrivals, seed: 1, contextLength: 4096 });
    await writeTrace(file, requests);
    expect(await readTrace(file)).toEqual(requests);
  });

  it('is ordered by time, and needs no seeds', async () => {
    const file = join(folder, 'b.jsonl');
    await writeFile(
      file,
      '{"atMs": 5, "promptTokens": 3, "newTokens": 2}\n\n{"atMs": 0, "promptTokens": 4, "newTokens": 2, "seed": 9}\n',
    );
    expect(await readTrace(file)).toEqual([
      { atMs: 0, promptTokens: 4, newTokens: 2, seed: 9 },
      { atMs: 5, promptTokens: 3, newTokens: 2, seed: 0 },
    ]);
  });

  it('is undefined where there is no file', async () => {
    expect(await readTrace(join(folder, 'none.jsonl'))).toBeUndefined();
  });

  it.each([
    ['', 'holds no request'],
    ['{"atMs": 0, "promptTokens": 4, "newTokens": 2}\n{', 'in line 2 no JSON'],
    ['null', 'in line 1 no time atMs'],
    ['{"atMs": -1, "promptTokens": 4, "newTokens": 2}', 'no time atMs from 0 on'],
    ['{"atMs": 0, "promptTokens": 0.5, "newTokens": 2}', 'no whole number promptTokens'],
    ['{"atMs": 0, "promptTokens": 4, "newTokens": 1}', 'no whole number newTokens above 1'],
    ['{"atMs": 0, "promptTokens": 4, "newTokens": 2, "seed": "x"}', 'a seed that is no whole number'],
  ])('is refused where it holds %j', async (text, message) => {
    const file = join(folder, 'bad.jsonl');
    await writeFile(file, text);
    await expect(readTrace(file)).rejects.toMatchObject({
      code: 'LLMOPT_OPTION_INVALID',
      message: expect.stringContaining(message),
    });
  });
});
