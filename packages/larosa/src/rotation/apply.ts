import { type Graph, LlmoptError } from '@llmopt/core';
import type { Bases } from '../calibration/activations.ts';
import type { Calibration } from '../calibration/calibration.ts';
import { type Rotation, residualBases, valueBases } from './plan.ts';
import { rotateResidual } from './rotate.ts';
import { rotateValues } from './values.ts';

export interface RotationOptions {
  /** Of the residual stream. */
  readonly rotation: Rotation;
  /** Also the values of each KV head. */
  readonly values: boolean;
}

/**
 * Rotates a model along the axes that its calibration found.
 * @throws LLMOPT_OPTION_INVALID without a calibration that is needed, LLMOPT_PLAN when the model cannot be rotated
 */
export function applyRotation(
  graph: Graph,
  { rotation, values }: RotationOptions,
  calibration: Calibration | undefined,
): { graph: Graph; bases: Bases } {
  if (rotation === 'none' && !values) return { graph, bases: {} };
  if (!calibration) throw needsCalibration(values ? 'values' : 'rotation');
  const bases: Bases = {
    ...(values && { values: valueBases(calibration, graph) }),
    ...(rotation !== 'none' && { residual: residualBases(calibration, graph, rotation) }),
  };
  const valued = bases.values ? rotateValues(graph, bases.values) : graph;
  return { graph: bases.residual ? rotateResidual(valued, bases.residual) : valued, bases };
}

/** Said of an option that was given without a calibration. */
export function needsCalibration(option: string): LlmoptError {
  return new LlmoptError('LLMOPT_OPTION_INVALID', `larosa: ${option} needs a calibration.`, {
    hint: 'Give calibration: the path of a file that llmopt-larosa calibrate wrote.',
  });
}
