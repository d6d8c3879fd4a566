import { describe, expect, it } from 'vitest';
import { randomGraph } from '../../test/backends.ts';
import { reference } from '../backends/reference/index.ts';
import { wasm } from '../backends/wasm/index.ts';
import { mapOps } from '../graph/graph.ts';
import { defineOp } from '../ops/define.ts';
import type { CustomOp } from '../ops/op.ts';
import { checkKernels, createPlan } from './plan.ts';
import type { Plugin } from './plugin.ts';

const plugin = (name: string, rest: Partial<Plugin> = {}): Plugin => ({
  name,
  version: '1',
  fidelity: 'exact',
  ...rest,
});
const names = (plugins: Plugin[]) => createPlan(plugins, reference()).plugins.map(({ name }) => name);

describe('createPlan', () => {
  it('keeps the order given where nothing else is said', () => {
    expect(names([plugin('c'), plugin('a'), plugin('b')])).toEqual(['c', 'a', 'b']);
  });

  it('sorts by after and before, and ignores names that are not there', () => {
    expect(names([plugin('a', { after: ['b', 'absent'] }), plugin('b'), plugin('c', { before: ['b'] })])).toEqual([
      'c',
      'b',
      'a',
    ]);
  });

  it('takes the loosest fidelity', () => {
    expect(createPlan([plugin('a'), plugin('b', { fidelity: 'approximate' })], reference()).fidelity).toBe(
      'approximate',
    );
    expect(createPlan([], reference()).fidelity).toBe('exact');
  });

  it('lists every problem at once', () => {
    const backend = { ...reference(), capabilities: new Set(['logits'] as const) };
    const plugins = [
      plugin('a', { claims: ['kvCache'], requires: ['channels'] }),
      plugin('b', { claims: ['kvCache'], after: ['c'] }),
      plugin('c', { after: ['b'] }),
      plugin('c'),
    ];
    expect(() => createPlan(plugins, backend)).toThrow(
      expect.objectContaining({
        code: 'LLMOPT_PLAN',
        problems: [
          '"c" is there twice',
          '"a" needs channels, which the backend "reference" does not offer',
          '"a" and "b" both claim kvCache; use one of them',
          '"b", "c" each want to come after another of them',
        ],
      }),
    );
  });

  it('refuses two providers of an exclusive hook, and hooks that are no functions', () => {
    const kvCache = () => {
      throw new Error('not called');
    };
    expect(() => createPlan([plugin('a', { kvCache }), plugin('b', { kvCache })], reference())).toThrow(
      /"a" and "b" both have the hook kvCache/,
    );
    expect(() => createPlan([plugin('a', { token: 3 as never })], reference())).toThrow(/token of "a" is no function/);
  });

  it('has a key that names plugins, versions and options', () => {
    const key = (options: Record<string, unknown>) => createPlan([plugin('a', { options })], reference()).key;
    expect(key({ sparsity: 0.4 })).not.toBe(key({ sparsity: 0.5 }));
  });
});

describe('checkKernels', () => {
  it('names op, plugin and backend before anything is loaded', () => {
    const definition = defineOp({
      kind: 'demo.double',
      shape: (_op, context) => ({ output: context.value('input', 'float') }),
      kernels: { reference: () => {} },
    });
    const graph = mapOps(randomGraph({ layers: 1 }), (op) => {
      if (op.kind !== 'gatedAct') return op;
      const double: CustomOp = {
        kind: 'demo.double',
        layer: 0,
        inputs: { input: op.outputs.output },
        outputs: { output: 'doubled' },
        params: {},
        attributes: {},
        definition,
      };
      return [op, double];
    });
    expect(() => checkKernels(graph, reference())).not.toThrow();
    expect(() => checkKernels(graph, wasm())).toThrow(
      expect.objectContaining({
        code: 'LLMOPT_PLAN',
        problems: ['the backend "wasm" has no kernel for demo.double of layer 0 (doubled), of plugin "demo"'],
      }),
    );
  });
});
