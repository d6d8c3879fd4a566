import { describe, expect, it } from 'vitest';
import { probeBackend } from './probe.ts';

describe('probeBackend', () => {
  it('runs something on a backend and tells what it says of itself', async () => {
    expect(await probeBackend({ name: 'reference' })).toEqual({
      settings: { threads: 1, precision: 'float32' },
      notes: [],
    });
    expect((await probeBackend({ name: 'onnx', threads: 1 })).settings).toMatchObject({
      executionProviders: 'cpu',
      threads: 1,
    });
  });

  it('knows mode and device of the GPU, or why there is none', async () => {
    const { warn } = console;
    const { settings, notes } = await probeBackend({ name: 'gpu' });
    expect(settings).toMatchObject({ device: expect.any(String), precision: 'float32' });
    expect(notes).toEqual(settings.mode === 'webgpu' ? [] : [expect.stringContaining(`"${settings.mode}"`)]);
    expect(console.warn).toBe(warn);
  });
});
