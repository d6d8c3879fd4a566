export { tokenizerFromGguf } from './fromGguf.ts';
export type * from './tokenizer.ts';
export { tokenizerFrom } from './tokenizerFrom.ts';
