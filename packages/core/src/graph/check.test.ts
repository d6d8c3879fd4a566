import { describe, expect, it } from 'vitest';
import { randomGraph } from '../../test/backends.ts';
import type { LinearOp, Op } from '../ops/op.ts';
import { checkGraph } from './check.ts';
import { type Graph, mapOps } from './graph.ts';

const graph = randomGraph({ layers: 1 });

/** The graph with one op changed. */
function change(kind: Op['kind'], edit: (op: never) => Op | readonly Op[]): Graph {
  let done = false;
  return mapOps(graph, (op) => {
    if (done || op.kind !== kind) return op;
    done = true;
    return edit(op as never);
  });
}

describe('checkGraph', () => {
  it('knows width and rows of every value', () => {
    const values = checkGraph(graph);
    expect(values.get('0.gate')).toEqual({ kind: 'float', width: 80, rows: 'batch' });
    expect(values.get('logits')).toEqual({ kind: 'float', width: 101, rows: 'logits' });
  });

  it.each<[string, Graph, RegExp]>([
    [
      'an unknown value',
      change('linear', (op: LinearOp) => ({ ...op, inputs: { input: 'nothing' } })),
      /linear of layer 0 \(0\.query\): its input, "nothing", is not made by any op before it/,
    ],
    [
      'an unknown parameter',
      change('linear', (op: LinearOp) => ({ ...op, params: { weight: 'nothing' } })),
      /"nothing", is not a parameter/,
    ],
    [
      'a weight that does not fit',
      change('linear', (op: LinearOp) => ({ ...op, params: { weight: 'blk.0.ffn_down.weight' } })),
      /the weight must be \[out, 48\], not \[48,80\]/,
    ],
    ['a value made twice', change('add', (op: Op) => [op, op]), /was made before/],
    [
      'floats where channels belong',
      change('linear', (op: LinearOp) => ({ ...op, inputs: { ...op.inputs, channels: 'embedded' } })),
      /holds float, not channels/,
    ],
    [
      'heads that do not share evenly',
      change('attention', (op: Extract<Op, { kind: 'attention' }>) => ({ ...op, heads: 3 })),
      /3 heads cannot share 2 KV heads/,
    ],
    [
      'rows selected twice',
      change('selectRows', (op: Extract<Op, { kind: 'selectRows' }>) => [
        op,
        { ...op, inputs: { input: 'selected' }, outputs: { output: 'again' } },
      ]),
      /already holds only the rows/,
    ],
    ['logits that nobody makes', { ...graph, logits: 'nothing' }, /not made by any op behind selectRows/],
    ['logits with a row per token', { ...graph, logits: '0.hidden' }, /not made by any op behind selectRows/],
  ])('refuses %s and names the place', (_, broken, message) => {
    expect(() => checkGraph(broken)).toThrow(
      expect.objectContaining({ code: 'LLMOPT_GRAPH_INVALID', message: expect.stringMatching(message) }),
    );
  });
});
