import { type Graph, type LinearOp, type Op, type Param, withParams } from '@llmopt/core';
import type { Basis } from './basis.ts';
import { between, inputsIn, into, ones, outOf, outputsIn } from './params.ts';
import { residualOf } from './residual.ts';

/**
 * The same model with the residual stream of each layer in the basis of that layer (paper, section 4.1). Gains and matrices are absorbed
 * in the weights; where the basis changes from one layer to the next, a linear turns the residual. An embedding that is also the head
 * stays as it is: one small linear behind it and one in front of the head turn its rows instead.
 * @throws LLMOPT_PLAN when the model cannot be rotated; the message says why
 */
export function rotateResidual(graph: Graph, basisOf: (layer: number) => Basis): Graph {
  const residual = residualOf(graph);
  const shared = sharedParams(graph);
  const params = new Map<string, Param>();
  const ops: Op[] = [];
  /** Of each value of the residual stream, and of each norm of it. */
  const bases = new Map<string, Basis>();
  /** Values in another basis than that in which they were made. */
  const turned = new Map<string, string>();

  const param = (name: string, value: Param): string => {
    params.set(name, value);
    return name;
  };
  const linear = (input: string, output: string, weight: string): string => {
    // An error here would stay in the residual stream, layer by layer.
    ops.push({ kind: 'linear', inputs: { input }, outputs: { output }, params: { weight }, precise: true });
    return output;
  };
  /** The name under which a value of the residual stream is there in a basis. */
  const inBasis = (value: string, basis: Basis): string => {
    const from = bases.get(value);
    if (from === undefined || from.key === basis.key) return value;
    const key = JSON.stringify([value, basis.key]);
    const name = turned.get(key) ?? linear(value, `${value}.turned`, param(`${value}.turn`, between(from, basis)));
    turned.set(key, name);
    return name;
  };
  const first = basisOf(0);
  /** Ops outside the layers work in the basis of what they read. */
  const basisAt = (op: Op, input: string) => (op.layer === undefined ? bases.get(input)! : basisOf(op.layer));

  function rewriteLinear(op: LinearOp): void {
    const normBasis = bases.get(op.inputs.input);
    const weight = graph.params.get(op.params.weight)!;
    const bias = op.params.bias === undefined ? undefined : graph.params.get(op.params.bias)!;
    let { input } = op.inputs;
    let turnedWeight = weight;
    if (normBasis) {
      const gain = graph.params.get(residual.norms.get(input)!.params.gain)!;
      if (shared.has(op.params.weight)) {
        input = linear(input, `${input}.unturned`, param(`${input}.unturn`, outOf(normBasis, gain)));
      } else turnedWeight = inputsIn(normBasis, weight, gain);
    }
    let turnedBias = bias;
    if (residual.added.has(op.outputs.output)) {
      const basis = op.layer === undefined ? first : basisOf(op.layer);
      turnedWeight = outputsIn(basis, turnedWeight);
      turnedBias = bias && outputsIn(basis, bias);
      bases.set(op.outputs.output, basis);
    }
    ops.push({
      ...op,
      inputs: { ...op.inputs, input },
      params: {
        weight: turnedWeight === weight ? op.params.weight : param(`${op.params.weight} turned`, turnedWeight),
        ...(op.params.bias !== undefined && {
          bias: turnedBias === bias ? op.params.bias : param(`${op.params.bias} turned`, turnedBias!),
        }),
      },
    });
  }

  for (const op of graph.ops) {
    if (op.kind === 'embed') {
      const { output } = op.outputs;
      const { weight } = op.params;
      if (shared.has(weight)) {
        ops.push({ ...op, outputs: { output: `${output}.unturned` } });
        linear(`${output}.unturned`, output, param(`${output}.turn`, into(first)));
      } else {
        const rotated = inputsIn(first, graph.params.get(weight)!);
        ops.push({ ...op, params: { weight: param(`${weight} turned`, rotated) } });
      }
      bases.set(output, first);
    } else if (op.kind === 'rmsNorm' && residual.values.has(op.inputs.input)) {
      const basis = basisAt(op, op.inputs.input);
      const input = inBasis(op.inputs.input, basis);
      ops.push({ ...op, inputs: { input }, params: { gain: param('larosa.ones', ones(basis.width)) } });
      bases.set(op.outputs.output, basis);
    } else if (op.kind === 'add' && residual.values.has(op.outputs.output)) {
      const basis = basisAt(op, residual.values.has(op.inputs.left) ? op.inputs.left : op.inputs.right);
      const { left, right } = op.inputs;
      ops.push({ ...op, inputs: { left: inBasis(left, basis), right: inBasis(right, basis) } });
      bases.set(op.outputs.output, basis);
    } else if (op.kind === 'linear') rewriteLinear(op);
    else {
      ops.push(op);
      if (op.kind === 'selectRows') {
        const basis = bases.get(op.inputs.input);
        if (basis) bases.set(op.outputs.output, basis);
      }
    }
  }
  return withParams({ ...graph, ops }, params);
}

/** Names of parameters that more than one op reads. */
function sharedParams(graph: Graph): ReadonlySet<string> {
  const seen = new Set<string>();
  const shared = new Set<string>();
  for (const op of graph.ops) {
    for (const name of Object.values<string>(op.params)) (seen.has(name) ? shared : seen).add(name);
  }
  return shared;
}
