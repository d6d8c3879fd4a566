import type { Executable } from '../src/backends/backend.ts';
import { checkGraph } from '../src/graph/check.ts';
import type { Graph } from '../src/graph/graph.ts';

/** Every value of the graph for a sequence given as one batch, channel lists as 1 and 0. */
export async function allValues(executable: Executable, graph: Graph, tokens: readonly number[]) {
  const slot = executable.kv.acquire()!;
  const rows = tokens.map((_, i) => i);
  const { values } = await executable.forward({
    tokens,
    slots: rows.map(() => slot),
    positions: rows,
    logits: rows,
    values: [...checkGraph(graph).keys()].map((name) => ({ name, rows })),
  });
  executable.kv.release(slot);
  return values;
}

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
