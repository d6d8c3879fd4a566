import { isCustom, type Op } from '../ops/op.ts';
import { checkGraph } from './check.ts';
import type { Graph, ValueInfo } from './graph.ts';

const attributesOf = (op: Op): [string, unknown][] =>
  isCustom(op)
    ? Object.entries(op.attributes)
    : Object.entries(op).filter(([key]) => !['kind', 'layer', 'inputs', 'outputs', 'params'].includes(key));

function describeOp(op: Op, values: ReadonlyMap<string, ValueInfo>, graph: Graph): string {
  const outputs = Object.values(op.outputs).map((name) => {
    const info = values.get(name)!;
    return `${name} [${info.rows === 'batch' ? 'rows' : 'logit rows'}, ${info.kind === 'channels' ? '≤' : ''}${info.width}]`;
  });
  const inputs = Object.entries(op.inputs).map(([role, name]) => (role === 'channels' ? `channels=${name}` : name));
  const params = Object.values(op.params).map(
    (name) => `${name} [${graph.params.get(name as string)?.shape.join(', ')}]`,
  );
  const attributes = attributesOf(op).map(([key, value]) => `${key}=${value}`);
  return `${outputs.join(', ')} = ${op.kind}(${[...inputs, ...params, ...attributes].join(', ')})`;
}

/** The graph as text, one op per line, grouped by layer; what a plugin did to it can be read off. */
export function describeGraph(graph: Graph): string {
  const values = checkGraph(graph);
  const lines: string[] = [];
  let layer: number | undefined;
  for (const op of graph.ops) {
    if (op.layer !== layer) {
      layer = op.layer;
      lines.push(layer === undefined ? 'outside the layers' : `layer ${layer}`);
    }
    lines.push(`  ${describeOp(op, values, graph)}`);
  }
  return lines.join('\n');
}
