/** Inputs and outputs of the model, as transformers and its JavaScript twin name them. */
export const inputNames = {
  tokens: 'input_ids',
  mask: 'attention_mask',
  positions: 'position_ids',
  /** Only where rows are selected. */
  logitRows: 'logit_rows',
  /** Only where rows are selected, and an op asks for it. */
  promptRows: 'prompt_rows',
} as const;

export const logitsName = 'logits';

export const pastName = (layer: number, role: 'key' | 'value') => `past_key_values.${layer}.${role}`;

export const presentName = (layer: number, role: 'key' | 'value') => `present.${layer}.${role}`;

/** The output that holds a value of the graph. */
export const valueName = (value: string) => `values.${value}`;
