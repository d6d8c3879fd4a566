import type { KvMemory } from '@llmopt/core';
import type { Settings } from '../options.ts';

interface Sizes {
  groupBytes: number;
  budgetBytes: number;
  warmBytes: number;
  memory: KvMemory | undefined;
}

const needed = 'giving back pages needs node:ffi (Node.js 26.1 or later, on Linux)';
const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

/** How memory is committed and given back, in a line for `describe()`. */
export function policyLine({ reclaim, prefixReuse }: Settings, sizes: Sizes): string {
  const { groupBytes, budgetBytes, warmBytes, memory } = sizes;
  const kept =
    reclaim === 'eager' ? 'at once when a sequence ends' : `beyond ${megabytes(warmBytes)} that no sequence uses`;
  const back =
    memory === undefined
      ? 'the backend keeps its memory to itself, and the budget counts tokens'
      : {
          madvise: `given back with madvise through node:ffi, ${kept}`,
          recycle: `given back only all at once, when nothing runs; ${needed}`,
          none: `kept until the pipeline is disposed; ${needed}`,
        }[memory.giveBack];
  const groups = `vattention: groups of ${groupBytes.toLocaleString('en-US')} bytes behind the tokens`;
  return `${groups}, at most ${megabytes(budgetBytes)}; ${back}; ${prefixReuse ? 'prefixes are used again' : 'no prefix is used again'}`;
}
