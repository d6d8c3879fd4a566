import { expect, it } from 'vitest';
import { backendTitle } from './backendTitle.ts';

it.each([
  ['wasm', { threads: 2, precision: 'int8' }, 'wasm int8'],
  ['onnx', { precision: 'float32', executionProviders: 'cpu' }, 'onnx float32 (cpu)'],
  ['gpu', { mode: 'webgpu', device: 'a card', precision: 'float32' }, 'gpu (webgpu, a card)'],
  ['reference', { threads: 1, precision: 'float32' }, 'reference'],
  ['gpu', undefined, 'gpu'],
])('%s with %j is called %s', (name, settings, title) => {
  expect(backendTitle(name, settings)).toBe(title);
});
