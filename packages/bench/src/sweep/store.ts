import { readFile } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { LlmoptError } from '@llmopt/core';
import { parseSweepResult, type SweepPoint, type SweepResult } from '@llmopt/schema';
import { writeJson } from '../write.ts';
import type { PlannedPoint } from './plan.ts';

const hint = 'Give another --output, or remove the file.';

async function readEarlier(file: string): Promise<SweepResult | undefined> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new LlmoptError('LLMOPT_RESULT_INVALID', `${file} cannot be read.`, { hint, cause: error });
  });
  if (text === undefined) return undefined;
  try {
    return parseSweepResult(JSON.parse(text));
  } catch (cause) {
    const said = cause instanceof Error ? cause.message : String(cause);
    throw new LlmoptError('LLMOPT_RESULT_INVALID', `${file} is there, and is not the result of a sweep: ${said}`, {
      hint,
      cause,
    });
  }
}

/** All that the figures of a point depend on beside the point itself. */
const conditions = ({ settings, system: { cpu, cores }, model }: SweepResult) =>
  JSON.parse(JSON.stringify({ ...settings, 'model.file': model.file, 'system.cpu': cpu, 'system.cores': cores }));

/** What makes a point the one that it is. */
const identity = (point: PlannedPoint) => {
  const { kind, method, options, sparsity, weightBytesPerToken, calibrationChecksum } = point;
  return JSON.parse(JSON.stringify({ kind, method, options, sparsity, weightBytesPerToken, calibrationChecksum }));
};

/** The file in which a sweep grows. */
export interface Store {
  readonly result: SweepResult;
  /** Whether the point was measured before. */
  has(point: PlannedPoint): boolean;
  /** Adds a point, and writes the whole file or nothing. @throws LLMOPT_WRITE_FAILED */
  add(point: SweepPoint): Promise<void>;
}

/**
 * Goes on with the file if it is there.
 * @throws LLMOPT_OPTION_INVALID if it was made with other settings, LLMOPT_RESULT_INVALID if it is something else
 */
export async function openStore(
  file: string,
  fresh: Omit<SweepResult, 'points'>,
  planned: readonly PlannedPoint[],
): Promise<Store> {
  const earlier = await readEarlier(file);
  const result = { ...fresh, ...(earlier && { createdAt: earlier.createdAt }) } as SweepResult;
  result.points = earlier?.points ?? [];
  if (earlier) {
    const [now, before] = [conditions(result), conditions(earlier)];
    const different = [...new Set([...Object.keys(now), ...Object.keys(before)])].filter(
      (key) => !isDeepStrictEqual(now[key], before[key]),
    );
    if (different.length > 0) {
      const problems = different.map(
        (key) => `${key}: ${JSON.stringify(before[key])} there, ${JSON.stringify(now[key])} now`,
      );
      throw new LlmoptError('LLMOPT_OPTION_INVALID', `${file} was made with other settings:`, { hint, problems });
    }
  }
  const order = new Map(planned.map(({ name }, index) => [name, index]));
  const measured = new Map(result.points.map((point) => [point.name, point]));
  for (const point of planned) {
    const known = measured.get(point.name);
    if (!known || isDeepStrictEqual(identity(known), identity(point))) continue;
    throw new LlmoptError('LLMOPT_OPTION_INVALID', `In ${file}, '${point.name}' is another point than now.`, { hint });
  }
  const place = ({ name }: SweepPoint) => order.get(name) ?? order.size;
  const settle = () => {
    result.points = [...measured.values()].sort((a, b) => place(a) - place(b));
    if (planned.every(({ name }) => measured.has(name))) delete result.incomplete;
    else result.incomplete = true;
  };
  settle();
  return {
    result,
    has: ({ name }) => measured.has(name),
    async add(point) {
      measured.set(point.name, point);
      settle();
      await writeJson(file, parseSweepResult(result));
    },
  };
}
