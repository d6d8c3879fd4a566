export { defaultCoefficients, keptChannels, type Site, sites } from './budget.ts';
export { type LarosaOptions, larosa, sparsifyGraph } from './larosa.ts';
export { type SparsifyAttributes, sparsifyDefinition } from './selection/sparsify.ts';
