export * from '../src/testing/forward.ts';
export { randomGraph } from '../src/testing/randomModel.ts';
