export { packStrings, type StringList } from '../strings/stringList.ts';
export { createTokenizer } from './createTokenizer.ts';
export { tokenizerFromGguf } from './fromGguf.ts';
export type * from './tokenizer.ts';
export { tokenizerFrom } from './tokenizerFrom.ts';
export { readVocabulary, type Vocabulary } from './vocabulary.ts';
