import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * The resident set of a process in bytes, as the operating system tells it; undefined when the process is gone or the
 * system does not tell.
 */
export async function residentBytes(pid: number): Promise<number | undefined> {
  try {
    if (process.platform === 'linux') {
      const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1];
      return kilobytes === undefined ? undefined : Number(kilobytes) * 1024;
    }
    const { stdout } = await run('ps', ['-o', 'rss=', '-p', String(pid)]);
    const kilobytes = Number(stdout.trim());
    return kilobytes > 0 ? kilobytes * 1024 : undefined;
  } catch {
    return undefined;
  }
}

/** The largest resident set that this process has had so far, in bytes. */
export async function peakResidentBytes(): Promise<number> {
  if (process.platform === 'linux') {
    // What the system calls the maximum of a process may be that of its parent when it was forked.
    const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile('/proc/self/status', 'utf8'))?.[1];
    if (kilobytes !== undefined) return Number(kilobytes) * 1024;
  }
  return process.resourceUsage().maxRSS * 1024;
}

export interface MemoryFigures {
  /** Largest sample. */
  peakBytes: number;
  /** Mean of the samples. */
  averageBytes: number;
  samples: number;
}

/**
 * Samples a process's resident set at the start, every `intervalMs` (default 50), and when `stop` is called, which
 * returns the figures; undefined if there was nothing to read.
 */
export function sampleMemory(
  pid: number,
  {
    intervalMs = 50,
    read = residentBytes,
  }: { intervalMs?: number; read?: (pid: number) => Promise<number | undefined> } = {},
): { stop(): Promise<MemoryFigures | undefined> } {
  let peakBytes = 0;
  let sum = 0;
  let samples = 0;
  const sample = async () => {
    const bytes = await read(pid);
    if (bytes === undefined) return;
    peakBytes = Math.max(peakBytes, bytes);
    sum += bytes;
    samples++;
  };
  let latest = sample();
  const timer = setInterval(() => {
    latest = latest.then(sample);
  }, intervalMs);
  return {
    async stop() {
      clearInterval(timer);
      await latest;
      await sample();
      return samples > 0 ? { peakBytes, averageBytes: sum / samples, samples } : undefined;
    },
  };
}
