import { type Graph, LlmoptError } from '@llmopt/core';
import { type LarosaOptions, larosa, openCalibration } from '@llmopt/larosa';
import type { SweepPoint } from '@llmopt/schema';
import type { Method, SweepSettings } from './options.ts';
import { layerBytes, type Precision, weightBytes } from './weightBytes.ts';

/** A point that is to be measured. */
export type PlannedPoint = Pick<
  SweepPoint,
  | 'name'
  | 'kind'
  | 'method'
  | 'precision'
  | 'sparsity'
  | 'equalBytes'
  | 'options'
  | 'calibrationChecksum'
  | 'weightBytesPerToken'
>;

/** Bytes that are called equal differ by no more than this share; the search goes on to a tenth of it, as far as steps allow. */
const tolerance = 0.005;
const bisections = 40;

async function bytesWith(graph: Graph, options: LarosaOptions, precision: Precision) {
  const rewritten = await larosa(options).graph?.(graph);
  return weightBytes(rewritten ?? graph, precision);
}

/**
 * The sparsity at which a step of `bytesAt`, which falls, comes as close to `target` as it gets. A sparsity that is refused is too high.
 * @throws LLMOPT_OPTION_INVALID where it comes no closer than half a per cent, and what `bytesAt` throws at sparsity 0
 */
export async function sparsityForBytes(
  target: number,
  bytesAt: (sparsity: number) => Promise<number>,
  method: string,
): Promise<number> {
  let best = { sparsity: 0, bytes: await bytesAt(0) };
  let [low, high] = [0, 1];
  const apart = ({ bytes }: { bytes: number }) => Math.abs(bytes / target - 1);
  for (let step = 0; step < bisections && apart(best) > tolerance / 10; step++) {
    const sparsity = (low + high) / 2;
    const bytes = await bytesAt(sparsity).catch((error: unknown) => {
      if (LlmoptError.isInstance(error) && error.code === 'LLMOPT_OPTION_INVALID') return Number.NaN;
      throw error;
    });
    if (apart({ bytes }) < apart(best)) best = { sparsity, bytes };
    if (bytes > target) low = sparsity;
    else high = sparsity;
  }
  if (apart(best) <= tolerance) return best.sparsity;
  throw new LlmoptError(
    'LLMOPT_OPTION_INVALID',
    `No sparsity of the method '${method}' reads ${Math.round(target)} bytes of weights per token; ${Math.round(best.bytes)} is the closest.`,
    { hint: 'Leave the method or the share out.' },
  );
}

async function pointsOf(
  { name: method, options: choice }: Method,
  graph: Graph,
  { sparsities, equalBytes, precision }: SweepSettings,
): Promise<PlannedPoint[]> {
  // Opened once: reading it, and what larosa works out of it, would be most of each step of a search.
  const calibration =
    typeof choice.calibration === 'string' ? await openCalibration(choice.calibration, graph) : undefined;
  const bytesAt = (sparsity: number) =>
    bytesWith(graph, { ...choice, sparsity, ...(calibration && { calibration }) } as LarosaOptions, precision);
  const point = async (name: string, sparsity: number, more: Pick<PlannedPoint, 'equalBytes'> = {}) => {
    const options = { ...choice, sparsity };
    return {
      name,
      kind: 'larosa' as const,
      method,
      precision,
      sparsity,
      ...more,
      options,
      weightBytesPerToken: await bytesAt(sparsity),
    };
  };
  const points: PlannedPoint[] = [];
  for (const sparsity of sparsities) points.push(await point(`${method}, ${sparsity}`, sparsity));
  for (const share of equalBytes) {
    const target = weightBytes(graph, precision) - share * layerBytes(graph, precision);
    const sparsity = await sparsityForBytes(target, bytesAt, method);
    points.push(await point(`${method}, bytes of ${share}`, sparsity, { equalBytes: share }));
  }
  return points;
}

/** The dense model in float32, and what the speed-ups are against: in the sweep's precision. */
export function densePoints(graph: Graph, precision: Precision): [float32: PlannedPoint, ...PlannedPoint[]] {
  const dense = (of: Precision): PlannedPoint => ({
    name: `dense ${of}`,
    kind: 'dense',
    method: `dense ${of}`,
    precision: of,
    weightBytesPerToken: weightBytes(graph, of),
  });
  return [dense('float32'), ...(precision === 'float32' ? [] : [dense(precision)])];
}

/** Every point of the model's own, with its weight bytes: all that is wrong with an option comes up here. @throws what larosa throws */
export async function planPoints(graph: Graph, settings: SweepSettings): Promise<PlannedPoint[]> {
  const points: PlannedPoint[] = densePoints(graph, settings.precision);
  for (const method of settings.methods) points.push(...(await pointsOf(method, graph, settings)));
  return points;
}
