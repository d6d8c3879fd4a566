import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { withLock } from './lock.ts';

const root = await mkdtemp(join(tmpdir(), 'llmopt-lock-'));
afterAll(() => rm(root, { recursive: true, force: true }));
let folder: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'case-'));
  path = join(folder, 'x.lock');
});

/** Runs eight workers at once and returns the most that were at work together. */
async function crowd(): Promise<number> {
  let working = 0;
  let most = 0;
  const work = async () => {
    most = Math.max(most, ++working);
    for (let i = 0; i < 5; i++) await turn();
    working--;
  };
  await Promise.all(Array.from({ length: 8 }, () => withLock(path, undefined, work)));
  return most;
}

describe('withLock', () => {
  it('lets one work at a time, and leaves nothing behind', async () => {
    expect(await crowd()).toBe(1);
    expect(await readdir(folder)).toEqual([]);
  });

  // No process has a number above the kernel's limit of 2^22.
  const dead = JSON.stringify({ pid: 2 ** 22 + 1, host: hostname(), id: 'x' });
  const elsewhere = JSON.stringify({ pid: 1, host: 'another-machine', id: 'x' });
  it.each([
    ['that died', dead, 0],
    ['on another machine, silent for a minute', elsewhere, 60],
    ['whose lock was never written, a minute old', '', 60],
  ])('takes over from a process %s, one at a time', async (_, content, ageSeconds) => {
    await writeFile(path, content);
    const then = new Date(Date.now() - ageSeconds * 1_000);
    await utimes(path, then, then);
    expect(await crowd()).toBe(1);
    expect(await readdir(folder)).toEqual([]);
  });

  it('gives the lock back when the work fails', async () => {
    await expect(withLock(path, undefined, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await readdir(folder)).toEqual([]);
  });

  it('waits for a live holder elsewhere until it is aborted, and leaves its lock alone', async () => {
    await writeFile(path, elsewhere);
    const waiting = withLock(path, AbortSignal.timeout(150), () => Promise.reject(new Error('got in')));
    await expect(waiting).rejects.toMatchObject({ code: 'LLMOPT_ABORTED' });
    expect(await readFile(path, 'utf8')).toBe(elsewhere);
  });

  it('says so where no lock can be written', async () => {
    const nowhere = withLock(join(folder, 'no', 'x.lock'), undefined, async () => {});
    await expect(nowhere).rejects.toMatchObject({ code: 'LLMOPT_WRITE_FAILED' });
  });
});
