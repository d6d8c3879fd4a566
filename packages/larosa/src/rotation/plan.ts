import { type Graph, LlmoptError } from '@llmopt/core';
import type { Calibration } from '../calibration/calibration.ts';
import { type Basis, principalBasis } from './basis.ts';

/** Which layers share a rotation: none is rotated, each has its own, so many in a row share one, or all do. */
export type Rotation = 'none' | 'layer' | 'shared' | number;

/** @throws LLMOPT_OPTION_INVALID */
export function checkRotation(rotation: Rotation): void {
  if (['none', 'layer', 'shared'].includes(rotation as string)) return;
  if (Number.isSafeInteger(rotation) && (rotation as number) >= 1) return;
  throw new LlmoptError('LLMOPT_OPTION_INVALID', `larosa: rotation is ${JSON.stringify(rotation)}.`, {
    hint: "Use 'none', 'layer', 'shared', or how many layers share one, such as 4.",
  });
}

/** The basis of each layer's residual stream. */
export function residualBases(
  calibration: Calibration,
  { config }: Graph,
  rotation: Exclude<Rotation, 'none'>,
): (layer: number) => Basis {
  const size = rotation === 'layer' ? 1 : rotation === 'shared' ? config.layers : rotation;
  const bases = Array.from({ length: Math.ceil(config.layers / size) }, (_, group) => {
    const first = group * size;
    const layers = Array.from({ length: Math.min(size, config.layers - first) }, (_, i) => first + i);
    const key = JSON.stringify([calibration.checksum, 'layers', first, layers.length]);
    return principalBasis(key, config.width, () => calibration.moments(layers));
  });
  return (layer) => bases[Math.floor(layer / size)]!;
}

/** The basis of the values of each KV head. */
export function valueBases(calibration: Calibration, { config }: Graph): (layer: number, kvHead: number) => Basis {
  const known = new Map<string, Basis>();
  return (layer, kvHead) => {
    const key = JSON.stringify([calibration.checksum, 'values', layer, kvHead]);
    const basis = known.get(key) ?? principalBasis(key, config.headDim, () => calibration.headMoments(layer, kvHead));
    known.set(key, basis);
    return basis;
  };
}
