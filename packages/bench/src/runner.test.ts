import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fakeArm } from '../test/fakePipeline.ts';
import { createHandlers } from './arms/child.ts';
import type { ArmProcess } from './arms/parent.ts';
import type { ArmSpec } from './arms/spec.ts';
import { planTurns, runTimed, type Sample } from './runner.ts';

const spec: ArmSpec = { name: 'baseline', model: 'fake.gguf', backend: { name: 'reference' }, plugins: [] };

/** An arm that lives in this process. */
async function localArm(name: string, millisecondsPerToken: number, log: string[]): Promise<ArmProcess> {
  const handlers = createHandlers(async () => fakeArm({ millisecondsPerToken }));
  await handlers.load({ spec, prompts: ['one', 'three'], maxNewTokens: 8 }, () => {});
  return {
    name,
    pid: process.pid,
    call: async (call, input) => {
      if (call === 'run') log.push(`${name}${(input as { prompt: number }).prompt}`);
      return handlers[call as 'run'](input as never, () => {}) as never;
    },
    stop: async () => {},
  };
}

describe('planTurns', () => {
  it('alternates the order from pair to pair and from run to run', () => {
    const turns = planTurns({ arms: 2, prompts: 2, runs: 2, warmup: 1 });
    expect(turns.map(({ run, prompt, order }) => `${run}:${prompt}:${order.join('')}`)).toEqual([
      '-1:0:01',
      '-1:1:10',
      '0:0:10',
      '0:1:01',
      '1:0:01',
      '1:1:10',
    ]);
  });

  it('gives each arm the first place as often as the other, but for one pair', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 0, max: 3 }),
        (prompts, runs, warmup) => {
          const timed = planTurns({ arms: 2, prompts, runs, warmup }).filter(({ run }) => run >= 0);
          expect(timed).toHaveLength(prompts * runs);
          const first = timed.filter(({ order }) => order[0] === 0).length;
          expect(Math.abs(2 * first - timed.length)).toBeLessThanOrEqual(1);
        },
      ),
    );
  });
});

describe('runTimed', () => {
  it('runs pairs one after the other and drops the warm-ups', async () => {
    const log: string[] = [];
    const arms = [await localArm('A', 2, log), await localArm('B', 1, log)];
    const samples: [number, Sample][] = [];
    await runTimed(arms, {
      prompts: 2,
      runs: 2,
      warmup: 1,
      maxNewTokens: 8,
      onSample: (arm, sample) => samples.push([arm, sample]),
    });
    expect(log).toEqual(['A0', 'B0', 'B1', 'A1', 'B0', 'A0', 'A1', 'B1', 'A0', 'B0', 'B1', 'A1']);
    expect(samples).toHaveLength(8);
    expect(samples[0]).toMatchObject([
      1,
      { runIndex: 0, promptIndex: 0, timePerOutputTokenMs: 1, inputTokens: 5, outputTokens: 8, characters: 8 },
    ]);
    expect(samples.every(([, { peakMb, averageMb }]) => peakMb >= averageMb && averageMb > 1)).toBe(true);
  });

  it('hands over what was measured before an arm fails', async () => {
    const arm = await localArm('A', 1, []);
    let calls = 0;
    const failing: ArmProcess = {
      ...arm,
      call: (call, input) => (++calls > 2 ? Promise.reject(new Error('gone')) : arm.call(call, input)),
    };
    const samples: Sample[] = [];
    const run = runTimed([failing], {
      prompts: 1,
      runs: 5,
      warmup: 0,
      maxNewTokens: 8,
      onSample: (_, sample) => samples.push(sample),
    });
    await expect(run).rejects.toThrow('gone');
    expect(samples).toHaveLength(2);
  });

  it('goes on without an arm that failed where somebody takes note of it', async () => {
    const log: string[] = [];
    const arm = await localArm('A', 1, log);
    const failing: ArmProcess = { ...arm, call: () => Promise.reject(new Error('gone')) };
    const failures: unknown[] = [];
    await runTimed([failing, arm], {
      prompts: 1,
      runs: 3,
      warmup: 0,
      promptTokens: 2,
      maxNewTokens: 8,
      onSample: (index, { inputTokens }) => expect([index, inputTokens]).toEqual([1, 2]),
      onFailure: (index, error) => failures.push([index, error]),
    });
    expect(failures).toEqual([[0, new Error('gone')]]);
    expect(log).toEqual(['A0', 'A0', 'A0']);
  });
});
