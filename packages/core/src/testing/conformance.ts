import fc from 'fast-check';
import type { Backend } from '../backends/backend.ts';
import type { Graph } from '../graph/graph.ts';
import type { OpDefinition } from '../ops/define.ts';
import type { CustomOp } from '../ops/op.ts';
import { channelsAboveZero, channelsOp, withChannels } from './channelsOp.ts';
import { type CheckOptions, checkModel, checkOp } from './check.ts';
import { opCases } from './opCases.ts';
import { type RandomModelSizes, randomGraph } from './randomModel.ts';

export interface ConformanceOptions extends CheckOptions {
  /** Cases of each op. Default 20. */
  runs?: number;
  /** Random graphs of each architecture. Default 4. */
  graphRuns?: number;
  /** Of the random sizes. Default: another one each time; a failure prints it. */
  seed?: number;
  /** An op with the meaning of `channelsAboveZero` and a kernel for this backend. Default: `channelsAboveZero`. */
  channels?: OpDefinition<CustomOp>;
}

/** A test, for any runner: `for (const { name, skip, run } of conformanceTests(backend)) …`. */
export interface ConformanceTest {
  readonly name: string;
  /** Why the backend cannot be tested so; undefined when it can. */
  readonly skip: string | undefined;
  /** @throws what does not conform, with the smallest sizes for which it does not */
  run(): Promise<void>;
}

/**
 * All that a backend must do like the reference: every op by itself, over random sizes, numbers, and mixtures of sequences, and whole graphs of
 * every architecture, as they are and with channel lists. Ops and sizes that the backend does not support are left out.
 */
export function conformanceTests(backend: Backend, options: ConformanceOptions = {}): ConformanceTest[] {
  const { runs = 20, graphRuns = 4, channels = channelsAboveZero } = options;
  const lists = backend.capabilities.has('channels') && backend.supports(channelsOp(channels, 'x', 'channels'));

  const test = <Case>(
    name: string,
    cases: fc.Arbitrary<Case>,
    graphOf: (one: Case) => Graph,
    numRuns: number,
    check: (one: Case) => Promise<unknown>,
  ): ConformanceTest => {
    const missing = (one: Case) => graphOf(one).ops.find((op) => !backend.supports(op));
    const samples = fc.sample(cases, { numRuns: 20, seed: 1 }).map(missing);
    const possible = cases.filter((one) => missing(one) === undefined);
    return {
      name: `${name}: like the reference, over random sizes`,
      skip: samples.includes(undefined) ? undefined : `${backend.name} does not support ${samples[0]!.kind}`,
      run: () =>
        fc.assert(
          fc.asyncProperty(possible, async (one) => {
            await check(one);
          }),
          { numRuns, ...(options.seed === undefined ? {} : { seed: options.seed }) },
        ),
    };
  };

  const cases = opCases({ channels: lists ? channels : 'none' });
  const ops = Object.entries(cases).map(([kind, all]) =>
    test(
      kind,
      all,
      ({ graph }) => graph,
      runs,
      (one) => checkOp(backend, one, options),
    ),
  );
  const models = architectures.flatMap((architecture) =>
    [false, true].map((withLists) => {
      const graphOf = (sizes: Partial<RandomModelSizes>) => {
        const graph = randomGraph({ ...sizes, architecture });
        return withLists ? withChannels(graph, channels) : graph;
      };
      const name = `${architecture}${withLists ? ' with channel lists' : ''}`;
      return test(name, modelSizes, graphOf, graphRuns, (sizes) => checkModel(backend, graphOf(sizes), options));
    }),
  );
  return [...ops, ...models];
}

const architectures: readonly RandomModelSizes['architecture'][] = ['llama', 'phi2', 'qwen2'];

const modelSizes = fc
  .record(
    {
      seed: fc.integer({ min: 1, max: 1e6 }),
      kvHeads: fc.integer({ min: 1, max: 3 }),
      group: fc.integer({ min: 1, max: 3 }),
      headDim: fc.constantFrom(4, 8, 20),
      width: fc.integer({ min: 16, max: 70 }),
      ffn: fc.oneof(fc.integer({ min: 16, max: 150 }), fc.integer({ min: 500, max: 700 })),
      vocabulary: fc.integer({ min: 2, max: 130 }),
      untied: fc.boolean(),
      layers: fc.integer({ min: 1, max: 2 }),
    },
    { noNullPrototype: true },
  )
  .map(({ group, ...sizes }) => ({ ...sizes, heads: sizes.kvHeads * group }));
