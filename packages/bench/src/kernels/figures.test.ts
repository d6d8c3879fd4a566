import { describe, expect, it } from 'vitest';
import { middleHalf, profileFigures, speedupFigure } from './figures.ts';

const profile = (stepMilliseconds: number, milliseconds = stepMilliseconds / 2) => ({
  steps: 2,
  stepMilliseconds,
  kernels: [
    { kernel: 'linearInt8', shape: '4x8', calls: 4, milliseconds, bytes: 4e6, operations: 8e6 },
    { kernel: 'rmsNorm', shape: undefined, calls: 4, milliseconds: stepMilliseconds / 10, bytes: 0, operations: 0 },
    { kernel: 'recordsInt8', shape: '4x8', calls: 0, milliseconds: 0, bytes: 0, operations: 0 },
  ],
});

describe('profileFigures', () => {
  it('gives rates of linears, times per call, and what lies outside the kernels', () => {
    expect(profileFigures('dense', [profile(10)])).toEqual({
      name: 'dense',
      steps: 2,
      millisecondsPerStep: 5,
      weightBytesPerStep: 2e6,
      kernels: [
        {
          ...{ kernel: 'linearInt8', shape: '4x8', callsPerStep: 2, microsecondsPerCall: 1250, share: 0.5 },
          ...{ gigabytesPerSecond: 4e6 / 5 / 1e6, gigaoperationsPerSecond: 8e6 / 5 / 1e6 },
        },
        { kernel: 'handOver', callsPerStep: 1, microsecondsPerCall: 2000, share: 0.4 },
        { kernel: 'rmsNorm', callsPerStep: 2, microsecondsPerCall: 250, share: 0.1 },
      ],
    });
  });

  it('leaves out the steps in which the system took its time', () => {
    const calm = profileFigures(
      'x',
      [10, 10, 10, 10].map((time) => profile(time)),
    );
    const paused = profileFigures(
      'x',
      [10, 10, 10, 10, 60_000].map((time) => profile(time)),
    );
    expect(paused.kernels).toEqual(calm.kernels);
    expect(middleHalf([1, 2, 3, 4, 5].map((time) => profile(time))).stepMilliseconds).toBe(9);
    expect(middleHalf([profile(7)]).stepMilliseconds).toBe(7);
  });
});

describe('speedupFigure', () => {
  it('is above 1 where the second is faster, and says so only if the rounds agree', () => {
    expect(speedupFigure([10, 20, 30], [8, 16, 24.1])).toMatchObject({
      mean: expect.closeTo(1.25, 2),
      verdict: 'faster',
    });
    expect(speedupFigure([8, 16, 24.1], [10, 20, 30])).toMatchObject({ verdict: 'slower' });
    expect(speedupFigure([10, 10, 10], [8, 12, 10])).toMatchObject({ verdict: 'no difference shown' });
  });

  it('has a code where nothing can be compared', () => {
    expect(() => speedupFigure([], [])).toThrow(expect.objectContaining({ code: 'LLMOPT_BENCH_FAILED' }));
  });
});
