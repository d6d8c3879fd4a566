import { randomUUID } from 'node:crypto';
import { link, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { LlmoptError } from '../../errors.ts';

const pollMs = 100;
const touchMs = 5_000;
// A holder that has not touched its lock for this long is taken for dead: it ran on another machine, or its number
// now belongs to another process.
const staleMs = 30_000;

interface Holder {
  pid: number;
  host: string;
  id: string;
}

/**
 * Runs `work` while no other process runs work under the same lock file. Waits for others; the lock of a process that
 * died is taken over.
 * @throws LLMOPT_ABORTED, LLMOPT_WRITE_FAILED, and what `work` throws
 */
export async function withLock<T>(path: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  const holder: Holder = { pid: process.pid, host: hostname(), id: randomUUID() };
  while (!(await tryLock(path, holder))) {
    const abandoned = await readAbandoned(path);
    if (abandoned !== undefined) await takeAway(path, abandoned);
    else await sleep(pollMs, undefined, { signal: signal ?? undefined }).catch(() => {});
    if (signal?.aborted)
      throw new LlmoptError('LLMOPT_ABORTED', `Waiting for ${path} was aborted.`, { cause: signal.reason });
  }
  const touch = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {});
  }, touchMs).unref();
  try {
    return await work();
  } finally {
    clearInterval(touch);
    if (parseHolder(await readLock(path))?.id === holder.id) await rm(path, { force: true });
  }
}

async function tryLock(path: string, holder: Holder): Promise<boolean> {
  try {
    await writeFile(path, JSON.stringify(holder), { flag: 'wx' });
    return true;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    throw new LlmoptError('LLMOPT_WRITE_FAILED', `${path} cannot be written: ${message}.`, {
      hint: 'Check the permissions, or name another cache folder in LLMOPT_CACHE.',
      cause,
    });
  }
}

function parseHolder(text: string | undefined): Partial<Holder> | undefined {
  try {
    return JSON.parse(text ?? '') as Partial<Holder>;
  } catch {
    return undefined;
  }
}

const readLock = (path: string) => readFile(path, 'utf8').catch(() => undefined);

/** What the lock file holds, if its holder is dead. */
async function readAbandoned(path: string): Promise<string | undefined> {
  const text = await readLock(path);
  const holder = parseHolder(text);
  if (holder?.host === hostname() && typeof holder.pid === 'number' && !isAlive(holder.pid)) return text;
  const stats = await stat(path).catch(() => undefined);
  return stats !== undefined && Date.now() - stats.mtimeMs > staleMs ? text : undefined;
}

/** Removes an abandoned lock, but not the one that a faster process has put in its place meanwhile. */
async function takeAway(path: string, abandoned: string): Promise<void> {
  const moved = `${path}.${randomUUID()}.part`;
  try {
    await rename(path, moved);
  } catch {
    return;
  }
  if ((await readLock(moved)) !== abandoned) await link(moved, path).catch(() => {});
  await rm(moved, { force: true });
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
