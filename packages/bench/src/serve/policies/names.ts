/** Ways to manage the memory of a KV cache that `serve` compares. */
export const policyNames = ['fixed-zeroed', 'fixed', 'grow-copy', 'vattention'] as const;

export type PolicyName = (typeof policyNames)[number];

/** Those that exist for the comparison only. */
export type BaselinePolicy = Exclude<PolicyName, 'vattention'>;
