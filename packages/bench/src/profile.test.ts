import { describe, expect, it } from 'vitest';
import { fakePipeline } from '../test/fakePipeline.ts';
import { profileDecode, subtractProfile, unaccountedPercent } from './profile.ts';
import { profileTable } from './report/profileTable.ts';

const profile = {
  steps: 10,
  stepMilliseconds: 100,
  entries: [
    { kind: 'linear', layer: 0, milliseconds: 30 },
    { kind: 'linear', layer: 1, milliseconds: 40 },
    { kind: 'rmsNorm', layer: 0, milliseconds: 5 },
    { kind: 'embed', layer: undefined, milliseconds: 20 },
  ],
  kernels: [
    { kernel: 'linearInt8', shape: '4x8', calls: 20, milliseconds: 60, bytes: 800, operations: 1280 },
    { kernel: 'linearInt8', shape: '8x4', calls: 10, milliseconds: 10, bytes: 400, operations: 640 },
    { kernel: 'rmsNorm', shape: undefined, calls: 10, milliseconds: 5, bytes: 0, operations: 0 },
  ],
};

describe('subtractProfile', () => {
  it('keeps only what happened in between', () => {
    const before = {
      steps: 4,
      stepMilliseconds: 40,
      entries: [{ kind: 'linear', layer: 1, milliseconds: 15 }],
      kernels: [{ kernel: 'linearInt8', shape: '4x8', calls: 8, milliseconds: 15, bytes: 320, operations: 512 }],
    };
    expect(subtractProfile(profile, before)).toEqual({
      steps: 6,
      stepMilliseconds: 60,
      entries: [
        { kind: 'linear', layer: 0, milliseconds: 30 },
        { kind: 'linear', layer: 1, milliseconds: 25 },
        { kind: 'rmsNorm', layer: 0, milliseconds: 5 },
        { kind: 'embed', layer: undefined, milliseconds: 20 },
      ],
      kernels: [
        { kernel: 'linearInt8', shape: '4x8', calls: 12, milliseconds: 45, bytes: 480, operations: 768 },
        ...profile.kernels.slice(1),
      ],
    });
  });

  it('passes a missing profile on', () => {
    expect(subtractProfile(undefined, undefined)).toBeUndefined();
    expect(subtractProfile(profile, undefined)).toBe(profile);
  });
});

/** As the result holds it. */
const perStep = {
  steps: 10,
  stepMilliseconds: 10,
  entries: profile.entries.map(({ kind, layer = -1, milliseconds }) => ({
    kind,
    layer,
    milliseconds: milliseconds / 10,
  })),
};

describe('profileTable', () => {
  it('adds up by kind and by layer, and states what is left', () => {
    const lines = profileTable('baseline', perStep).split('\n');
    const cells = lines.map((line) =>
      line
        .split('│')
        .map((cell) => cell.trim())
        .filter(Boolean),
    );
    expect(lines[0]).toBe('baseline: milliseconds per decode step, mean of 10 steps');
    expect(cells).toContainEqual(['layer', 'linear', 'embed', 'rmsNorm', 'sum']);
    expect(cells).toContainEqual(['0', '3.000', '0.500', '3.500']);
    expect(cells).toContainEqual(['outside', '2.000', '2.000']);
    expect(cells).toContainEqual(['all', '7.000', '2.000', '0.500', '9.500']);
    expect(cells).toContainEqual(['share', '70.0 %', '20.0 %', '5.0 %', '95.0 %']);
    expect(lines.at(-1)).toBe('Ops 9.500 ms, step 10.000 ms: 5.0 % of the step lies outside the ops.');
  });

  it('says when the ops add up to more than the step', () => {
    expect(unaccountedPercent({ ...perStep, stepMilliseconds: 9 })).toBeLessThan(0);
    expect(profileTable('x', { ...perStep, stepMilliseconds: 9 })).toContain('5.6 % more in the ops than in the step');
  });
});

describe('profileDecode', () => {
  it('reads the prompt in chunks, then follows the likeliest token, and counts only that', async () => {
    const seen: number[][] = [];
    const pipeline = fakePipeline({
      // The likeliest token is the one behind the last.
      logits: (token) => Float32Array.from({ length: 128 }, (_, index) => (index === (token + 1) % 128 ? 1 : 0)),
      onForward: ({ tokens }) => seen.push(Array.from(tokens)),
    });
    const prompt = Array.from({ length: 70 }, (_, index) => index);
    expect(await profileDecode(pipeline, prompt, 3)).toMatchObject({ steps: 3, stepMilliseconds: 3 });
    expect(seen).toEqual([prompt.slice(0, 64), prompt.slice(64), [70], [71], [72]]);
    expect(pipeline.freeSlots()).toBe(1);
  });
});
