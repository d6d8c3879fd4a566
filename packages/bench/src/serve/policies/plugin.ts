import type { KvCache, KvContext, KvLayout, Plugin } from '@llmopt/core';
import { fixedKvCache } from './fixed.ts';
import { growCopyKvCache } from './growCopy.ts';
import type { BaselinePolicy } from './names.ts';

export interface BaselineOptions {
  /** Physical bytes for keys and values. Default: all that is reserved. */
  budgetBytes?: number;
}

const caches: Record<BaselinePolicy, (layout: KvLayout, context: KvContext, options: BaselineOptions) => KvCache> = {
  'fixed-zeroed': (layout, context, options) => fixedKvCache(layout, context, { ...options, zeroed: true }),
  fixed: (layout, context, options) => fixedKvCache(layout, context, { ...options, zeroed: false }),
  'grow-copy': growCopyKvCache,
};

/** A pipeline's KV cache by a policy that exists to be compared with. */
export function baselinePlugin(policy: BaselinePolicy, options: BaselineOptions): Plugin {
  return {
    name: `kv-${policy}`,
    version: '1',
    options: { ...options },
    fidelity: 'exact',
    claims: ['kvCache'],
    requires: ['kvCache'],
    kvCache: (layout, context) => caches[policy](layout, context, options),
  };
}
