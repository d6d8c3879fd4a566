import { type CoreOp, type Graph, LlmoptError, type Op } from '@llmopt/core';
import { producersOf } from '../sites.ts';

/** What holds the residual stream, and what lies between it and the projections. */
export interface Residual {
  /** Values of the residual stream. */
  readonly values: ReadonlySet<string>;
  /** The norms that read it, by the value they make. */
  readonly norms: ReadonlyMap<string, Extract<CoreOp, { kind: 'rmsNorm' }>>;
  /** Values that are added to it. */
  readonly added: ReadonlySet<string>;
}

/**
 * Follows the residual stream from the embedding to the head.
 * @throws LLMOPT_PLAN when something reads it, or adds to it, that cannot be turned with it
 */
export function residualOf(graph: Graph): Residual {
  const values = new Set<string>();
  const norms = new Map<string, Extract<CoreOp, { kind: 'rmsNorm' }>>();
  const added = new Set<string>();
  for (const op of graph.ops) {
    if (op.kind === 'embed') values.add(op.outputs.output);
    const reads = Object.values<string>(op.inputs);
    const fromNorm = reads.find((name) => norms.has(name));
    if (fromNorm !== undefined && op.kind !== 'linear') {
      refuse(op, `reads ${fromNorm}, a norm of the residual stream`);
    }
    if (!reads.some((name) => values.has(name))) continue;
    if (op.kind === 'add') {
      for (const name of reads) if (!values.has(name)) added.add(name);
      values.add(op.outputs.output);
    } else if (op.kind === 'selectRows') values.add(op.outputs.output);
    else if (op.kind === 'rmsNorm') norms.set(op.outputs.output, op);
    else if (op.kind === 'layerNorm') refuse(op, 'takes the mean off the residual stream and adds a bias to it');
    else refuse(op, 'reads the residual stream');
  }
  const producers = producersOf(graph);
  for (const name of added) {
    const op = producers.get(name)!;
    if (op.kind !== 'linear') refuse(op, 'adds to the residual stream');
    const others = graph.ops.filter((other) => Object.values<string>(other.inputs).includes(name));
    if (others.length > 1) refuse(op, 'is added to the residual stream and read elsewhere');
  }
  return { values, norms, added };
}

function refuse(op: Op, does: string): never {
  const where = op.layer === undefined ? 'outside the layers' : `of layer ${op.layer}`;
  throw new LlmoptError('LLMOPT_PLAN', 'larosa cannot rotate this model:', {
    problems: [
      `the ${op.kind} ${where} (${Object.values(op.outputs).join(', ')}) ${does}, which no rotation commutes with`,
    ],
    hint: "Use rotation: 'none'; values: true turns the values of attention all the same.",
    where: { op: op.kind, layer: op.layer ?? '' },
  });
}
