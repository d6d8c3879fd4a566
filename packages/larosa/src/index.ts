export { defaultCoefficients, keptChannels, type Site, sites } from './budget/coefficients.ts';
export { type Activations, activationsIn, type Bases } from './calibration/activations.ts';
export { openCalibration } from './calibration/artefact.ts';
export {
  type CalibrateOptions,
  type CalibrateResult,
  type CalibrationProgress,
  calibrate,
} from './calibration/calibrate.ts';
export type { Calibration, CalibrationSettings } from './calibration/calibration.ts';
export { type LarosaOptions, larosa } from './larosa.ts';
export type { Rotation } from './rotation/plan.ts';
export type { SearchedBudgets } from './search/searched.ts';
export type { SearchOptions, SearchSettings } from './search/settings.ts';
export { type Prefill, type Score, type SparsifyAttributes, sparsifyDefinition } from './selection/sparsify.ts';
export { type Selection, type SparsifyOptions, sparsifyGraph } from './selection/sparsifyGraph.ts';
export type { LayerSite } from './sites.ts';
