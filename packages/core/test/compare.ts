/** Largest difference relative to the largest number; infinite when there are more or fewer numbers, or one is no number. */
export function relativeError(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length) return Infinity;
  let difference = 0;
  let largest = 1e-6;
  for (let i = 0; i < expected.length; i++) {
    const here = Math.abs(actual[i]! - expected[i]!);
    difference = Number.isNaN(here) ? Infinity : Math.max(difference, here);
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return difference / largest;
}
