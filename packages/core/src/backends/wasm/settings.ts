import { availableParallelism } from 'node:os';
import { LlmoptError } from '../../errors.ts';
import { MAX_THREADS } from './control.ts';
import { type VectorBits, widestVectors } from './kernelModules.ts';

/** Checks how many threads are wanted. Default: one per core. @throws LLMOPT_OPTION_INVALID */
export function resolveThreads(threads: number = Math.min(availableParallelism(), MAX_THREADS)): number {
  if (Number.isInteger(threads) && threads >= 1 && threads <= MAX_THREADS) return threads;
  throw new LlmoptError(
    'LLMOPT_OPTION_INVALID',
    `threads is ${threads}; a whole number from 1 to ${MAX_THREADS} is allowed.`,
  );
}

/** Checks which vectors are wanted. Default: the widest that are known to work here. @throws LLMOPT_OPTION_INVALID */
export function resolveVectorBits(vectorBits: VectorBits = widestVectors): VectorBits {
  if (vectorBits === 128 || vectorBits === 256) return vectorBits;
  throw new LlmoptError('LLMOPT_OPTION_INVALID', `vectorBits is ${vectorBits}; 128 and 256 are allowed.`);
}
