#!/usr/bin/env node
import { readFile } from 'node:fs/promises';
import { parseBenchmarkResult, ResultError } from '@llmopt/schema';
import { defineCommand, runMain } from 'citty';
import { renderCharts } from './renderCharts.ts';

const command = defineCommand({
  meta: { name: 'llmopt-viz', description: 'Draws the charts of a benchmark result, as PNG and SVG.' },
  args: {
    input: {
      type: 'string',
      description: 'Result of llmopt-bench',
      default: 'benchmark_results.json',
      valueHint: 'FILE',
    },
    output: { type: 'string', description: 'Folder for the charts', default: 'benchmark_plots', valueHint: 'FOLDER' },
  },
  async run({ args }) {
    try {
      const files = await renderCharts(await readResult(args.input), args.output);
      for (const file of files) console.log(file);
    } catch (error) {
      if (!(error instanceof ResultError)) throw error;
      console.error(`${error.code}: ${error.message}`);
      process.exitCode = 1;
    }
  },
});

async function readResult(file: string) {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (cause) {
    throw new ResultError(
      'LLMOPT_RESULT_INVALID',
      `${file} cannot be read. Give the file that llmopt-bench wrote with --input.`,
      { cause },
    );
  }
  try {
    return parseBenchmarkResult(JSON.parse(text));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ResultError('LLMOPT_RESULT_INVALID', `${file}: ${reason}`, { cause });
  }
}

await runMain(command);
