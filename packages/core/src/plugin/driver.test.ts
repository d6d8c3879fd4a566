import { describe, expect, expectTypeOf, it, vi } from 'vitest';
import { randomGraph } from '../../test/backends.ts';
import type { GenerateResult } from '../pipeline/types.ts';
import { createDriver, type Driver } from './driver.ts';
import type { GenerateRequest, Plugin, Sequence } from './plugin.ts';

const plugin = (name: string, rest: Partial<Plugin>): Plugin => ({ name, version: '1', fidelity: 'exact', ...rest });
const sequence: Sequence = { id: 0, tokens: [1], promptLength: 1 };
const result = { text: '' } as GenerateResult;

describe('createDriver', () => {
  it('hands what one plugin returns to the next', async () => {
    const rename = (suffix: string) =>
      plugin(suffix, { graph: (graph) => ({ ...graph, logits: graph.logits + suffix }) });
    const graph = await createDriver([rename('1'), rename('2')]).waterfall('graph', randomGraph());
    expect(graph.logits).toBe('logits12');
  });

  it('wraps what a plugin throws once, and names plugin and hook', async () => {
    const driver = createDriver([
      plugin('broken', {
        graph() {
          throw new Error('no idea');
        },
      }),
    ]);
    await expect(driver.waterfall('graph', randomGraph())).rejects.toMatchObject({
      code: 'LLMOPT_PLUGIN_FAILED',
      message: '[broken] graph: no idea.',
      where: { plugin: 'broken', hook: 'graph' },
    });
  });

  it('has no function for a hook that nobody uses', () => {
    expect(createDriver([plugin('a', {})]).inPlace('logits')).toBeUndefined();
  });

  it('refuses an asynchronous hook on the hot path', () => {
    const driver = createDriver([plugin('slow', { token: (async () => {}) as unknown as Plugin['token'] })]);
    expect(() => driver.inPlace('token')!(1, sequence)).toThrow(/must be synchronous/);
  });

  it('puts the first plugin outermost', async () => {
    const order: string[] = [];
    const around = (name: string) =>
      plugin(name, {
        async generate(request, next) {
          order.push(`${name} in`);
          const out = await next({ ...request, prompt: [...request.prompt, order.length] });
          order.push(`${name} out`);
          return out;
        },
      });
    const request: GenerateRequest = { prompt: [], options: {} };
    let seen: readonly number[] = [];
    const out = await createDriver([around('a'), around('b')]).onion(request, async ({ prompt }) => {
      seen = prompt;
      return result;
    });
    expect(out).toBe(result);
    expect(order).toEqual(['a in', 'b in', 'b out', 'a out']);
    expect(seen).toEqual([1, 2]);
  });

  it('warns about an observer that throws, and goes on', () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const heard: string[] = [];
    createDriver([
      plugin('bad', {
        sequenceStart() {
          throw new Error('oops');
        },
      }),
      plugin('good', { sequenceStart: () => void heard.push('good') }),
    ]).observe('sequenceStart', sequence);
    expect(heard).toEqual(['good']);
    expect(warn.mock.calls[0]![0]).toMatchObject({ message: '[bad] sequenceStart: oops.' });
    warn.mockRestore();
  });

  it('merges figures and disposes backward', async () => {
    const order: string[] = [];
    const driver = createDriver([
      plugin('a', { metrics: () => ({ a: 1 }), dispose: () => void order.push('a') }),
      plugin('b', { metrics: () => ({ b: 2 }), dispose: () => void order.push('b') }),
    ]);
    expect(driver.merge('metrics')).toEqual({ a: 1, b: 2 });
    await driver.settle('dispose', 'backward');
    expect(order).toEqual(['b', 'a']);
  });

  it('does not compile with a hook of another kind', () => {
    expectTypeOf<Parameters<Driver['waterfall']>[0]>().toEqualTypeOf<'tokenizer' | 'graph'>();
    expectTypeOf<Parameters<Driver['inPlace']>[0]>().toEqualTypeOf<'logits' | 'token'>();
    expectTypeOf<Parameters<Driver['exclusive']>[0]>().toEqualTypeOf<'kvCache'>();
  });
});
