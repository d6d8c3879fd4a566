import { expect, it } from 'vitest';
import { twoArms } from '../test/results.ts';
import { displayName, formatNumber, overRuns } from './figures.ts';

it.each([
  [0, '0'],
  [0.1862, '0.186'],
  [0.001234, '0.00123'],
  [9.996, '10.00'],
  [62.34, '62.3'],
  [1234.5, '1,235'],
  [-0.56, '-0.560'],
])('writes %f as %s', (value, text) => {
  expect(formatNumber(value)).toBe(text);
});

it('shortens long names', () => {
  expect(displayName('node-llama-cpp Q8_0, 2 threads')).toBe('node-llama-cpp Q8_0, 2 …');
});

it('makes a figure of the runs, with the interval of their mean', () => {
  const [baseline] = twoArms().arms;
  const figure = overRuns(baseline!, ({ characters }) => characters)!;
  expect(figure.mean).toBe(584);
  expect(figure.n).toBe(20);
  // Standard deviation 17.4 over √20, times 1.96.
  expect(figure.ci95![1] - figure.mean).toBeCloseTo(7.63, 1);
});
