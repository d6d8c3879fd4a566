import type { ArgsDef } from 'citty';

/** Arguments that mean the same to several commands. */
export const modelArg = {
  model: { type: 'string', valueHint: 'NAME|PATH', description: 'Model to measure (smollm2-135m)' },
} as const satisfies ArgsDef;

export const threadsArg = {
  threads: { type: 'string', valueHint: 'N', description: 'Threads (all cores)' },
} as const satisfies ArgsDef;

export const precisionArg = {
  precision: { type: 'string', valueHint: 'int8|float32', description: 'Weights (int8)' },
} as const satisfies ArgsDef;

export const vattentionArg = {
  vattention: {
    type: 'string',
    valueHint: '[OPTION=VALUE ...]',
    description: "Memory for keys and values on demand, by vattention with these options (vattention's own)",
  },
} as const satisfies ArgsDef;
