import { readFile } from 'node:fs/promises';
import { LlmoptError } from '@llmopt/core';
import type { CommandDef } from 'citty';
import { renderUsage } from 'citty';
import pc from 'picocolors';
import { runBackends } from './backends/backends.ts';
import { type BenchmarkControl, runBenchmark } from './benchmark.ts';
import {
  backendsArgs,
  backendsCommand,
  backendsOptions,
  benchArgs,
  benchCommand,
  benchmarkOptions,
  diffArgs,
  diffCommand,
  kernelsArgs,
  kernelsCommand,
  kernelsOptions,
  repeatableArgs,
  repeatableKernelsArgs,
  repeatableSweepArgs,
  sweepArgs,
  sweepCommand,
  sweepOptions,
} from './commands.ts';
import { assertNoRegression, diffResults, readResult } from './diff.ts';
import { numberFlag, parseFlags } from './flags.ts';
import { runKernels } from './kernels/kernels.ts';
import { pagedArgs, pagedCommand, pagedOptions, repeatablePagedArgs } from './paged/command.ts';
import { runPaged } from './paged/paged.ts';
import { backendsReport } from './report/backendsTable.ts';
import { diffTable } from './report/diffTable.ts';
import { kernelsReport } from './report/kernelsTable.ts';
import { pagedReport } from './report/pagedTable.ts';
import { createReporter, type Terminal } from './report/reporter.ts';
import { resultReport } from './report/resultTable.ts';
import { serveReport } from './report/serveTable.ts';
import { sweepReport } from './report/sweepTable.ts';
import { repeatableServeArgs, serveArgs, serveCommand, serveOptions } from './serve/command.ts';
import { runServe } from './serve/serve.ts';
import { runSweep } from './sweep/sweep.ts';
import { joinVattention } from './vattentionFlag.ts';

/** Exit codes: what a script can tell from them. */
const exitCodes = { ok: 0, failed: 1, usage: 2, interrupted: 130 } as const;

export interface Streams {
  /** Tables. */
  stdout: Terminal;
  /** Progress and errors. */
  stderr: Terminal;
}

/** The code of this project's errors; those of the chart and schema packages are classes of their own. */
function codeOf(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && code.startsWith('LLMOPT_') ? code : undefined;
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

/** Runs something long that Ctrl-C ends, and prints what it says. */
async function interruptible(
  { stdout, stderr }: Streams,
  run: (control: Required<BenchmarkControl>) => Promise<string>,
): Promise<number> {
  const reporter = createReporter(stderr);
  const { signal, release } = interruptSignal();
  try {
    stdout.write(`${await run({ reporter, signal })}\n`);
    return exitCodes.ok;
  } catch (error) {
    reporter.end();
    if (codeOf(error) !== 'LLMOPT_ABORTED') throw error;
    stderr.write('Interrupted.\n');
    return exitCodes.interrupted;
  } finally {
    release();
  }
}

async function bench(rawArgs: readonly string[], streams: Streams): Promise<number> {
  const options = await benchmarkOptions(parseFlags(joinVattention(rawArgs), benchArgs, repeatableArgs));
  return interruptible(streams, async (control) => resultReport(await runBenchmark(options, control)));
}

async function kernels(rawArgs: readonly string[], streams: Streams): Promise<number> {
  const options = kernelsOptions(parseFlags(rawArgs, kernelsArgs, repeatableKernelsArgs));
  return interruptible(streams, async (control) => kernelsReport(await runKernels(options, control)));
}

async function backends(rawArgs: readonly string[], streams: Streams): Promise<number> {
  const options = await backendsOptions(parseFlags(rawArgs, backendsArgs));
  return interruptible(streams, async (control) => backendsReport(await runBackends(options, control)));
}

async function sweep(rawArgs: readonly string[], streams: Streams): Promise<number> {
  const options = await sweepOptions(parseFlags(rawArgs, sweepArgs, repeatableSweepArgs));
  return interruptible(streams, async (control) => sweepReport(await runSweep(options, control)));
}

async function serve(rawArgs: readonly string[], streams: Streams): Promise<number> {
  const options = serveOptions(parseFlags(joinVattention(rawArgs), serveArgs, repeatableServeArgs));
  return interruptible(streams, async (control) => serveReport(await runServe(options, control)));
}

async function paged(rawArgs: readonly string[], streams: Streams): Promise<number> {
  const options = pagedOptions(parseFlags(rawArgs, pagedArgs, repeatablePagedArgs));
  return interruptible(streams, async (control) => pagedReport(await runPaged(options, control)));
}

async function diff(rawArgs: readonly string[], { stdout }: Streams): Promise<number> {
  const { values, positionals } = parseFlags(rawArgs, diffArgs);
  const failBelow = numberFlag(values, 'fail-below');
  if (failBelow !== undefined && failBelow <= 0) {
    throw new LlmoptError('LLMOPT_OPTION_INVALID', `--fail-below must be above 0, but is ${failBelow}.`, {
      hint: 'Give a ratio such as 0.95.',
    });
  }
  const [a, b] = (await Promise.all(positionals.map(readResult))) as [never, never];
  const comparison = diffResults(a, b);
  stdout.write(`${diffTable(comparison)}\n`);
  if (failBelow !== undefined) assertNoRegression(comparison, failBelow);
  return exitCodes.ok;
}

const subCommands: Record<string, { command: CommandDef; run: typeof bench }> = {
  backends: { command: backendsCommand, run: backends },
  diff: { command: diffCommand, run: diff },
  kernels: { command: kernelsCommand, run: kernels },
  paged: { command: pagedCommand, run: paged },
  serve: { command: serveCommand, run: serve },
  sweep: { command: sweepCommand, run: sweep },
};

async function version(): Promise<string> {
  const file = await readFile(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}

/** Runs a command line, without the names of interpreter and script, and returns the exit code. Never throws. */
export async function main(rawArgs: readonly string[], streams: Streams = process): Promise<number> {
  const [first, ...rest] = rawArgs;
  const sub = first === undefined || !Object.hasOwn(subCommands, first) ? undefined : subCommands[first];
  try {
    if (rawArgs.some((word) => word === '--help' || word === '-h')) {
      streams.stdout.write(`${sub ? await renderUsage(sub.command, benchCommand) : await renderUsage(benchCommand)}\n`);
      return exitCodes.ok;
    }
    if (first === '--version') {
      streams.stdout.write(`${await version()}\n`);
      return exitCodes.ok;
    }
    return await (sub ? sub.run(rest, streams) : bench(rawArgs, streams));
  } catch (error) {
    const code = codeOf(error);
    const text = error instanceof Error ? (code ? error.message : (error.stack ?? error.message)) : String(error);
    streams.stderr.write(`${pc.red(code ?? 'Unexpected error')}: ${text}\n`);
    return code === 'LLMOPT_OPTION_INVALID' ? exitCodes.usage : exitCodes.failed;
  }
}
