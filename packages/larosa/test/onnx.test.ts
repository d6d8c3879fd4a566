import { type Backend, buildGraph, openGguf, reference } from '@llmopt/core';
import { onnx } from '@llmopt/core/onnx';
import { expect, it } from 'vitest';
import { compile } from '../../core/test/backends.ts';
import { realModelPath } from '../../core/test/realModel/model.ts';
import { parityFixture } from '../../core/test/realModel/parityFixture.ts';
import { defaultCoefficients, keptChannels } from '../src/budget.ts';
import { sparsifyGraph } from '../src/larosa.ts';

// Top-K is not continuous: where two inputs are equal but for rounding, two engines may keep another one, and from there on the layers and
// the tokens behind are those of another choice. So a token counts until the first such choice, and each of these must be one of equals.
const sparsity = 0.4;
const nearlyEqual = 1e-5;

it('SmolLM2-135M with LaRoSA at 0.4 on onnx is the reference, as long as both choose alike', {
  timeout: 900_000,
}, async () => {
  const checkpoint = await openGguf(await realModelPath());
  const { rewritten: graph } = sparsifyGraph(buildGraph(checkpoint), (site, width) =>
    keptChannels(width, sparsity, defaultCoefficients[site]),
  );
  const tokens = parityFixture().window(0).slice(0, 64);
  const rows = tokens.map((_, i) => i);
  const choices = graph.ops.flatMap((op) =>
    op.kind === 'larosa.sparsify' ? [{ from: op.inputs.input!, alive: op.outputs.channels! }] : [],
  );
  const run = async (backend: Backend) => {
    const executable = await compile(backend, graph, { contextLength: 64, maxRows: 64 });
    const slot = executable.kv.acquire()!;
    const { logits, values } = await executable.forward({
      tokens,
      slots: rows.map(() => slot),
      positions: rows,
      logits: rows,
      values: choices.flatMap(({ from, alive }) => [from, alive]).map((name) => ({ name, rows })),
    });
    const copy = logits.slice();
    await executable.dispose();
    return {
      values,
      row: (at: number) => copy.subarray((at * copy.length) / rows.length, ((at + 1) * copy.length) / rows.length),
    };
  };
  const expected = await run(reference());
  const actual = await run(onnx({ values: true, threads: 1 }));
  await checkpoint.close();

  let alike = tokens.length;
  for (const { from, alive } of choices) {
    const width = expected.values[from]!.length / tokens.length;
    for (let token = 0; token < alike; token++) {
      const at = (values: Record<string, Float32Array>, name: string) =>
        values[name]!.subarray(token * width, (token + 1) * width);
      const [ours, theirs, inputs] = [at(actual.values, alive), at(expected.values, alive), at(expected.values, from)];
      const exchanged = [...ours.keys()].filter((channel) => ours[channel] !== theirs[channel]);
      if (exchanged.length === 0) continue;
      const sizes = exchanged.map((channel) => Math.abs(inputs[channel]!));
      expect(Math.min(...sizes) / Math.max(...sizes), `${alive} of token ${token}`).toBeGreaterThan(1 - nearlyEqual);
      alike = token;
    }
  }
  const divergences = rows.slice(0, alike).map((row) => divergence(expected.row(row), actual.row(row)));
  console.log(
    `onnx, LaRoSA at ${sparsity}: the same choices for ${alike} of ${tokens.length} tokens, largest KL of these ${Math.max(0, ...divergences).toExponential(2)}`,
  );
  for (const one of divergences) expect(one).toBeLessThan(1e-5);
});

function softmax(logits: Float32Array): Float64Array {
  const largest = logits.reduce((most, logit) => Math.max(most, logit), -Infinity);
  const weights = Float64Array.from(logits, (logit) => Math.exp(logit - largest));
  const sum = weights.reduce((total, weight) => total + weight, 0);
  return weights.map((weight) => weight / sum);
}

function divergence(of: Float32Array, from: Float32Array): number {
  const p = softmax(of);
  const q = softmax(from);
  return p.reduce((sum, share, i) => sum + (share > 0 ? share * Math.log(share / q[i]!) : 0), 0);
}
