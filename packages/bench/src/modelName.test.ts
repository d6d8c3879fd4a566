import { expect, it } from 'vitest';
import { modelName } from './modelName.ts';

it.each([
  ['smollm2-135m', 'smollm2-135m'],
  ['microsoft/phi-2', 'microsoft/phi-2'],
  ['owner/repo@main/sub/model.gguf', 'model.gguf'],
  ['/home/me/models/phi/', 'phi'],
  ['./models/phi', 'phi'],
  ['model.gguf', 'model.gguf'],
])('calls %s by the name %s', (model, name) => {
  expect(modelName(model)).toBe(name);
});
