import { LlmoptError } from '../errors.ts';
import type { Graph, ValueInfo } from '../graph/graph.ts';
import type { KvCache } from '../kv/kvCache.ts';
import type { Batch } from './backend.ts';

const invalid = (message: string, hint?: string) =>
  new LlmoptError('LLMOPT_BATCH_INVALID', message, hint ? { hint } : {});

/**
 * Checks a batch against the graph and the cache, and makes room in the cache. Nothing has changed when it throws.
 * Returns the new length of each slot that the batch touches.
 * @throws LLMOPT_BATCH_INVALID, LLMOPT_TOKEN_INVALID, LLMOPT_KV_FULL, LLMOPT_KV_BUDGET
 */
export function prepareBatch(
  batch: Batch,
  graph: Graph,
  values: ReadonlyMap<string, ValueInfo>,
  kv: KvCache,
  maxRows: number,
): ReadonlyMap<number, number> {
  const rows = batch.tokens.length;
  if (rows === 0) throw invalid('The batch has no rows.');
  if (rows > maxRows)
    throw invalid(`The batch has ${rows} rows; at most ${maxRows} fit.`, 'Cut it in chunks, or raise maxRows.');
  if (batch.slots.length !== rows || batch.positions.length !== rows) {
    throw invalid(`The batch has ${rows} tokens, ${batch.slots.length} slots and ${batch.positions.length} positions.`);
  }
  if (batch.prompt) checkFlags(batch.prompt, rows);
  const lengths = new Map<number, number>();
  for (let row = 0; row < rows; row++) {
    const slot = batch.slots[row]!;
    const token = batch.tokens[row]!;
    if (!kv.isAcquired(slot))
      throw invalid(`Row ${row} names slot ${slot}, which is not taken.`, 'Acquire a slot first.');
    if (!Number.isInteger(token) || token < 0 || token >= graph.config.vocabularySize) {
      throw new LlmoptError(
        'LLMOPT_TOKEN_INVALID',
        `Row ${row} holds token ${token}; ids go from 0 to ${graph.config.vocabularySize - 1}.`,
      );
    }
    const length = lengths.get(slot) ?? kv.length(slot);
    if (batch.positions[row] !== length) {
      throw invalid(
        `Row ${row} stands at position ${batch.positions[row]}; slot ${slot} goes on at ${length}.`,
        'Rows of a slot go on, without gaps, where it ends.',
      );
    }
    lengths.set(slot, length + 1);
  }
  checkRows('logits', batch.logits, rows);
  for (const wanted of batch.values ?? []) {
    const info = values.get(wanted.name);
    if (!info) throw invalid(`The graph has no value "${wanted.name}".`, 'describe() lists the names.');
    checkRows(wanted.name, wanted.rows, info.rows === 'batch' ? rows : batch.logits.length);
  }
  kv.reserve(lengths);
  return lengths;
}

function checkFlags(prompt: ArrayLike<number>, rows: number): void {
  if (prompt.length !== rows) throw invalid(`The batch has ${rows} tokens and ${prompt.length} marks of prompt rows.`);
  for (let row = 0; row < rows; row++) {
    if (prompt[row] !== 0 && prompt[row] !== 1)
      throw invalid(`Row ${row} is marked ${prompt[row]}; 1 is a row of a prompt, 0 any other.`);
  }
}

function checkRows(what: string, indices: ArrayLike<number>, rows: number): void {
  if (indices.length > rows) throw invalid(`${indices.length} rows of ${what} are wanted; there are ${rows}.`);
  for (let i = 0; i < indices.length; i++) {
    const row = indices[i]!;
    if (!Number.isInteger(row) || row < 0 || row >= rows)
      throw invalid(`Row ${row} of ${what} is wanted; there are ${rows} rows.`);
  }
}
