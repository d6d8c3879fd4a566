import type { Hooks } from './plugin.ts';

/**
 * How a hook is called.
 * - `waterfall`: each plugin gets what the one before returned; may be asynchronous
 * - `exclusive`: at most one plugin has it
 * - `inPlace`: each plugin in turn, synchronous, on the hot path
 * - `onion`: the first plugin is outermost
 * - `observe`: each plugin is told; what it throws is a warning and never breaks the text
 * - `settle`: each plugin in turn, may be asynchronous
 * - `merge`: the objects that plugins return become one
 */
export type HookKind = 'waterfall' | 'exclusive' | 'inPlace' | 'onion' | 'observe' | 'settle' | 'merge';

/** The kind of every hook; a hook that is missing here does not compile. */
export const hooks = {
  tokenizer: 'waterfall',
  graph: 'waterfall',
  kvCache: 'exclusive',
  ready: 'settle',
  logits: 'inPlace',
  token: 'inPlace',
  generate: 'onion',
  sequenceStart: 'observe',
  prefillEnd: 'observe',
  step: 'observe',
  sequenceEnd: 'observe',
  metrics: 'merge',
  dispose: 'settle',
} as const satisfies Record<keyof Hooks, HookKind>;

/** Names of the hooks of one kind. */
export type HooksOfKind<Kind extends HookKind> = {
  [Name in keyof Hooks]: (typeof hooks)[Name] extends Kind ? Name : never;
}[keyof Hooks];
