export { defaultCoefficients, keptChannels, type Site, sites } from './budget.ts';
export { type LarosaOptions, larosa } from './larosa.ts';
export { type Prefill, type Score, type SparsifyAttributes, sparsifyDefinition } from './selection/sparsify.ts';
export { type Selection, type SparsifyOptions, sparsifyGraph } from './selection/sparsifyGraph.ts';
export type { LayerSite } from './sites.ts';
