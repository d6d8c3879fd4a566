import { createHash } from 'node:crypto';
import type { Graph } from '@llmopt/core';

/**
 * Tells models apart by what a graph gives: SHA-256 of the model's facts, all vectors and the first row of every matrix of its layers. What
 * changes the vocabulary alone does not change it.
 */
export async function modelChecksum(graph: Graph): Promise<string> {
  const { vocabularySize: _, contextLength: __, ...facts } = graph.config;
  const hash = createHash('sha256').update(JSON.stringify(facts));
  const seen = new Set<string>();
  for (const op of graph.ops) {
    if (op.layer === undefined) continue;
    for (const name of Object.values<string>(op.params)) {
      if (seen.has(name)) continue;
      seen.add(name);
      const param = graph.params.get(name)!;
      const numbers = await param.read(param.shape.length > 1 ? [0, 1] : undefined);
      hash.update(JSON.stringify([op.kind, op.layer, param.shape]));
      hash.update(new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength));
    }
  }
  return hash.digest('hex');
}
