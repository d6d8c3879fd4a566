import { readFile } from 'node:fs/promises';
import { LlmoptError } from '@llmopt/core';
import { writeText } from '../write.ts';
import type { TraceRequest } from './workload.ts';

const invalid = (file: string, line: number, said: string) =>
  new LlmoptError('LLMOPT_OPTION_INVALID', `The trace ${file} has in line ${line} ${said}.`, {
    hint: 'Write lines like {"atMs": 0, "promptTokens": 300, "newTokens": 64}, ordered by time.',
    where: { file, line },
  });

function parseLine(text: string, file: string, line: number): TraceRequest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid(file, line, 'no JSON');
  }
  const fields = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const { atMs, promptTokens, newTokens, seed = line - 1 } = fields;
  const isCount = (count: unknown, least: number): count is number =>
    typeof count === 'number' && Number.isSafeInteger(count) && count >= least;
  if (typeof atMs !== 'number' || !(atMs >= 0 && atMs < 1e12)) throw invalid(file, line, 'no time atMs from 0 on');
  if (!isCount(promptTokens, 1)) throw invalid(file, line, 'no whole number promptTokens above 0');
  if (!isCount(newTokens, 2)) throw invalid(file, line, 'no whole number newTokens above 1');
  if (!isCount(seed, 0)) throw invalid(file, line, 'a seed that is no whole number from 0 on');
  return { atMs, promptTokens, newTokens, seed };
}

/**
 * The requests in a trace, a JSON object per line; undefined if there is no such file.
 * @throws LLMOPT_OPTION_INVALID naming the line, LLMOPT_FILE_NOT_FOUND if it cannot be read
 */
export async function readTrace(file: string): Promise<TraceRequest[] | undefined> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === 'ENOENT') return undefined;
    throw new LlmoptError('LLMOPT_FILE_NOT_FOUND', `${file} cannot be read.`, { hint: 'Check the path.', cause });
  });
  if (text === undefined) return undefined;
  const requests = text
    .split(/\r?\n/)
    .map((line, index) => [line, index + 1] as const)
    .filter(([line]) => line.trim() !== '')
    .map(([line, number]) => parseLine(line, file, number));
  if (requests.length === 0) {
    throw new LlmoptError('LLMOPT_OPTION_INVALID', `The trace ${file} holds no request.`, { hint: 'Remove the file.' });
  }
  return requests.sort((a, b) => a.atMs - b.atMs);
}

/** Writes a trace that `readTrace` reads. @throws LLMOPT_WRITE_FAILED */
export async function writeTrace(file: string, requests: readonly TraceRequest[]): Promise<void> {
  await writeText(file, requests.map((request) => `${JSON.stringify(request)}\n`).join(''));
}
