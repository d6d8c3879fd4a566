import { readFile } from 'node:fs/promises';
import { LlmoptError } from '@llmopt/core';
import { renderUsage } from 'citty';
import pc from 'picocolors';
import { calibrate } from '../calibration/calibrate.ts';
import type { SearchedBudgets } from '../search/searched.ts';
import { calibrateCommand, calibrateOptions, larosaCommand } from './calibrateCommand.ts';
import { createProgress, type Terminal } from './progress.ts';

/** Exit codes: what a script can tell from them. */
const exitCodes = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const;

export interface Streams {
  /** The path of the calibration. */
  stdout: Terminal;
  /** Progress and errors. */
  stderr: Terminal;
}

/** Runs a command line, without the names of interpreter and script, and returns the exit code. Never throws. */
export async function main(rawArgs: readonly string[], streams: Streams = process): Promise<number> {
  const [first, ...rest] = rawArgs;
  try {
    if (rawArgs.length === 0 || rawArgs.some((word) => word === '--help' || word === '-h')) {
      const usage = first === 'calibrate' ? renderUsage(calibrateCommand, larosaCommand) : renderUsage(larosaCommand);
      streams.stdout.write(`${await usage}\n`);
      return exitCodes.ok;
    }
    if (first === '--version') {
      streams.stdout.write(`${await version()}\n`);
      return exitCodes.ok;
    }
    if (first === 'calibrate') return await runCalibrate(rest, streams);
    throw new LlmoptError('LLMOPT_OPTION_INVALID', `There is no command "${first}".`, {
      hint: 'llmopt-larosa --help lists them.',
    });
  } catch (error) {
    const known = LlmoptError.isInstance(error);
    const text = error instanceof Error ? (known ? error.message : (error.stack ?? error.message)) : String(error);
    streams.stderr.write(`${pc.red(known ? error.code : 'Unexpected error')}: ${text}\n`);
    return known && error.code === 'LLMOPT_OPTION_INVALID' ? exitCodes.usage : exitCodes.failed;
  }
}

async function runCalibrate(rawArgs: readonly string[], { stdout, stderr }: Streams): Promise<number> {
  const options = await calibrateOptions(rawArgs);
  const progress = createProgress(stderr);
  const { signal, release } = interruptSignal();
  try {
    const { path, calibration, cached } = await calibrate({ ...options, signal, onProgress: progress.report });
    progress.end();
    stderr.write(cached ? 'It was there already.\n' : '');
    stderr.write(foundText(await calibration.searched()));
    stdout.write(`${path}\n`);
    return exitCodes.ok;
  } catch (error) {
    progress.end();
    if (!(LlmoptError.isInstance(error) && error.code === 'LLMOPT_ABORTED')) throw error;
    stderr.write('Interrupted; nothing was written.\n');
    return exitCodes.interrupted;
  } finally {
    release();
  }
}

/** What a search was worth: a line per sparsity that there was time for. */
function foundText(searched: SearchedBudgets | undefined): string {
  const lines = (searched?.sparsities ?? []).map((sparsity, i) => {
    const [fixed, found] = searched!.divergences.subarray(2 * i, 2 * i + 2);
    return `At ${sparsity} a KL divergence of ${found!.toPrecision(3)}, with the fixed coefficients ${fixed!.toPrecision(3)}.\n`;
  });
  return lines.filter((line) => !line.includes('NaN')).join('');
}

/** Aborts at the first SIGINT or SIGTERM; the second one ends the process in the system's way. */
function interruptSignal(): { signal: AbortSignal; release: () => void } {
  const controller = new AbortController();
  const abort = () => {
    release();
    controller.abort();
  };
  const release = () => {
    process.off('SIGINT', abort);
    process.off('SIGTERM', abort);
  };
  process.on('SIGINT', abort);
  process.on('SIGTERM', abort);
  return { signal: controller.signal, release };
}

async function version(): Promise<string> {
  const file = await readFile(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}
