import type { LarosaChoice } from '../arms/spec.ts';

/** What a choice is called; '' where it says nothing about the method. */
const words: Readonly<Record<string, string>> = {
  'rotation none': 'not rotated',
  'rotation layer': 'rotated per layer',
  'rotation shared': 'rotated',
  'values true': 'values rotated',
  'score magnitude': 'by magnitude',
  'score weighted': 'weighted',
  'budget uniform': 'uniform',
  'budget coefficients': 'coefficients',
  'budget layers': 'budget per layer',
  'compensation true': 'compensated',
  'values false': '',
  'compensation false': '',
  'prefill dense': '',
  'prefill sparse': '',
};

function wordOf([key, value]: readonly [string, unknown]): string {
  const known = words[`${key} ${value}`];
  if (known !== undefined) return known;
  return key === 'rotation' ? `rotated per ${value} layers` : `${key} ${value}`;
}

/** How a method's line is called, such as `Top-K, rotated per layer, weighted`; without any choice it is larosa's default. */
export function methodName(choice: LarosaChoice): string {
  const { selection, ...others } = choice;
  const entries = Object.entries(others).filter(([key]) => key !== 'calibration');
  if (selection === undefined && entries.length === 0) return 'default';
  const first = selection === 'threshold' ? 'threshold' : 'Top-K';
  return [first, ...entries.map(wordOf)].filter(Boolean).join(', ');
}
