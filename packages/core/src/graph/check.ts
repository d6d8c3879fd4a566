import { LlmoptError } from '../errors.ts';
import type { ShapeContext } from '../ops/define.ts';
import { definitionOf } from '../ops/index.ts';
import type { Op } from '../ops/op.ts';
import type { Graph, ValueInfo } from './graph.ts';

/** How messages name an op: its kind, its layer and what it makes. */
export function opName(op: Op): string {
  const layer = op.layer === undefined ? '' : ` of layer ${op.layer}`;
  return `${op.kind}${layer} (${Object.values(op.outputs).join(', ')})`;
}

/**
 * What every value of a graph holds, by name, in the order in which they are made.
 * @throws LLMOPT_GRAPH_INVALID for an unknown value or parameter, a shape that does not fit, a value made twice
 */
export function checkGraph(graph: Graph): ReadonlyMap<string, ValueInfo> {
  const values = checkOps(graph);
  const logits = values.get(graph.logits);
  if (logits?.kind === 'float' && logits.rows === 'logits') return values;
  throw new LlmoptError(
    'LLMOPT_GRAPH_INVALID',
    `The graph's logits, "${graph.logits}", are not made by any op behind selectRows.`,
  );
}

/** The same for a graph whose logits may not be made yet. @throws LLMOPT_GRAPH_INVALID */
export function checkOps(graph: Omit<Graph, 'logits'>): ReadonlyMap<string, ValueInfo> {
  const values = new Map<string, ValueInfo>();
  const contextOf = shapeContexts(graph, values);
  for (const op of graph.ops) {
    const outputs = definitionOf(op).shape(op, contextOf(op));
    for (const [role, info] of Object.entries(outputs)) {
      const name = (op.outputs as Record<string, string>)[role];
      if (name === undefined) fail(op, `it does not name its output "${role}"`);
      if (values.has(name)) fail(op, `the value "${name}" was made before`);
      values.set(name, info);
    }
  }
  return values;
}

function fail(op: Op, message: string): never {
  throw new LlmoptError('LLMOPT_GRAPH_INVALID', `${opName(op)}: ${message}.`, {
    where: { op: op.kind, layer: op.layer ?? '' },
  });
}

/** One context that is that of each op in turn. */
function shapeContexts(graph: Omit<Graph, 'logits'>, values: ReadonlyMap<string, ValueInfo>): (op: Op) => ShapeContext {
  let op: Op;
  let inputs: Record<string, string | undefined>;
  let params: Record<string, string | undefined>;
  const context: ShapeContext = {
    has: (role) => inputs[role] !== undefined || params[role] !== undefined,
    value(role, kind) {
      const name = inputs[role];
      if (name === undefined) return fail(op, `it lacks its input "${role}"`);
      const info = values.get(name);
      if (!info) return fail(op, `its ${role}, "${name}", is not made by any op before it`);
      if (info.kind !== kind) return fail(op, `its ${role}, "${name}", holds ${info.kind}, not ${kind}`);
      return info;
    },
    param(role) {
      const name = params[role];
      if (name === undefined) return fail(op, `it lacks its parameter "${role}"`);
      return graph.params.get(name) ?? fail(op, `its ${role}, "${name}", is not a parameter of the graph`);
    },
    require(condition, message) {
      if (!condition) fail(op, message);
    },
  };
  return (next) => {
    op = next;
    inputs = op.inputs;
    params = op.params;
    return context;
  };
}
