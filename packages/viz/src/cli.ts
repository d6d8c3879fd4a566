#!/usr/bin/env node
import { readFile } from 'node:fs/promises';
import {
  isServe,
  isSweep,
  parseBenchmarkResult,
  parseServeResult,
  parseSweepResult,
  ResultError,
} from '@llmopt/schema';
import { defineCommand, runMain } from 'citty';
import { renderCharts, renderServe, renderSweep } from './renderCharts.ts';

const command = defineCommand({
  meta: { name: 'llmopt-viz', description: 'Draws the charts of a benchmark, a sweep or a replay, as PNG and SVG.' },
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
      const draw = await readResult(args.input);
      const files = await draw(args.output);
      for (const file of files) console.log(file);
    } catch (error) {
      if (!(error instanceof ResultError)) throw error;
      console.error(`${error.code}: ${error.message}`);
      process.exitCode = 1;
    }
  },
});

/** Reads a result; what it returns draws its charts into a folder. */
async function readResult(file: string): Promise<(folder: string) => Promise<string[]>> {
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
    const value: unknown = JSON.parse(text);
    if (isSweep(value)) {
      const sweep = parseSweepResult(value);
      return (folder) => renderSweep(sweep, folder);
    }
    if (isServe(value)) {
      const replay = parseServeResult(value);
      return (folder) => renderServe(replay, folder);
    }
    const result = parseBenchmarkResult(value);
    return (folder) => renderCharts(result, folder);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ResultError('LLMOPT_RESULT_INVALID', `${file}: ${reason}`, { cause });
  }
}

await runMain(command);
