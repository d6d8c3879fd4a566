import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { type BenchmarkResult, ResultError, type ServeResult, type SweepResult } from '@llmopt/schema';
import type { TopLevelSpec } from 'vega-lite';
import { charts, serveCharts, sweepCharts } from './charts/index.ts';
import { render } from './render.ts';

/**
 * Draws the five charts of a result into a folder, as PNG and SVG. Everything is drawn before anything is written, so a failure
 * leaves no half set.
 * @returns the paths of the files
 * @throws ResultError with code LLMOPT_WRITE_FAILED when the folder cannot be written
 */
export async function renderCharts(result: BenchmarkResult, outputDir: string): Promise<string[]> {
  return writeCharts(
    Object.entries(charts).map(([name, chart]) => [name, chart(result)]),
    outputDir,
  );
}

/** The same for a sweep: `pareto`. @throws ResultError with code LLMOPT_WRITE_FAILED when the folder cannot be written */
export async function renderSweep(result: SweepResult, outputDir: string): Promise<string[]> {
  return writeCharts(
    Object.entries(sweepCharts).map(([name, chart]) => [name, chart(result)]),
    outputDir,
  );
}

/** The same for a replay: `kv_memory` and `latency`. @throws ResultError with code LLMOPT_WRITE_FAILED when the folder cannot be written */
export async function renderServe(result: ServeResult, outputDir: string): Promise<string[]> {
  return writeCharts(
    Object.entries(serveCharts).map(([name, chart]) => [name, chart(result)]),
    outputDir,
  );
}

async function writeCharts(specs: readonly [name: string, TopLevelSpec][], outputDir: string): Promise<string[]> {
  const files: [name: string, content: string | Uint8Array][] = [];
  for (const [name, spec] of specs) {
    const { svg, png } = await render(spec);
    files.push([`${name}.png`, png], [`${name}.svg`, svg]);
  }
  const temporary: string[] = [];
  try {
    await mkdir(outputDir, { recursive: true });
    for (const [name, content] of files) {
      const file = path.join(outputDir, `.${name}.${process.pid}.tmp`);
      temporary.push(file);
      await writeFile(file, content);
    }
    for (const [i, [name]] of files.entries()) await rename(temporary[i]!, path.join(outputDir, name));
  } catch (cause) {
    await Promise.all(temporary.map((file) => rm(file, { force: true }).catch(() => undefined)));
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ResultError(
      'LLMOPT_WRITE_FAILED',
      `The charts cannot be written to ${outputDir}: ${reason}. Choose a folder that can be written.`,
      { cause },
    );
  }
  return files.map(([name]) => path.join(outputDir, name));
}
