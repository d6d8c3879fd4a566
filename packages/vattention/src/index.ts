export type { VattentionStats } from './cache/managedCache.ts';
export type { SavedSequence } from './file/sequenceFile.ts';
export type { VattentionOptions } from './options.ts';
export { type Vattention, vattention } from './vattention.ts';
