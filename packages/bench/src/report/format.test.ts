import { describe, expect, it } from 'vitest';
import { formatFigure, formatNumber } from './format.ts';

describe('formatNumber', () => {
  it.each([
    [1234.5, '1235'],
    [123.4, '123'],
    [12.34, '12.3'],
    [1.234, '1.23'],
    [0.01234, '0.0123'],
    [-0.5, '-0.500'],
    [0, '0'],
    [0.0001234, '0.000123'],
    [1.234e-9, '1.2e-9'],
    [Number.NaN, '–'],
  ])('%d is %s', (value, text) => {
    expect(formatNumber(value)).toBe(text);
  });
});

describe('formatFigure', () => {
  it('shows an interval only where there is one', () => {
    expect(formatFigure({ mean: 62.13, median: 62, ci95: [60.02, 64.24], n: 10 })).toBe('62.1 (60.0 to 64.2)');
    expect(formatFigure({ mean: 62.13, median: 62, ci95: null, n: 1 })).toBe('62.1');
    expect(formatFigure({ mean: 128, median: 128, ci95: [128, 128], n: 10 })).toBe('128');
    expect(formatFigure({ mean: 0.5, median: 0.5, ci95: [0.4, 0.6], n: 10 }, 100)).toBe('50.0 (40.0 to 60.0)');
    expect(formatFigure(undefined)).toBe('');
  });
});
