import { afterEach, describe, expect, it, vi } from 'vitest';
import { compile, forwardAlone, forwardPieces, randomGraph } from '../../../test/backends.ts';
import { gpuModes, noAdapter } from '../../../test/gpu.ts';
import { contiguousKvCache } from '../../kv/contiguous.ts';
import { defineOp } from '../../ops/define.ts';
import type { CustomOp } from '../../ops/op.ts';
import { gpu } from './index.ts';
import { loadGpuJs } from './library.ts';

const onlyWebGpu = noAdapter ? ` (${noAdapter})` : '';
const code = (name: string) => expect.objectContaining({ code: name });

afterEach(() => {
  vi.restoreAllMocks();
  vi.doUnmock('gpu.js');
});

/** What a machine without a GPU has. */
function withoutAdapter(): void {
  vi.spyOn(navigator.gpu, 'requestAdapter').mockResolvedValue(null);
}

describe('the mode', () => {
  it('is refused when it is none', () => {
    expect(() => gpu({ mode: 'opengl' as 'cpu' })).toThrow(code('LLMOPT_OPTION_INVALID'));
  });

  it.each(gpuModes.filter(({ skip }) => !skip))('$mode is in the settings, with the device', async ({ mode }) => {
    const backend = gpu({ mode });
    expect(backend.settings).toEqual({ mode, precision: 'float32' });
    const executable = await compile(backend, randomGraph());
    expect(backend.settings).toEqual({ mode, device: expect.stringMatching(/\S/), precision: 'float32' });
    await executable.dispose();
  });

  it.skipIf(noAdapter)(`auto is webgpu where an adapter answers${onlyWebGpu}`, async () => {
    const warn = vi.spyOn(console, 'warn');
    const backend = gpu();
    await (await compile(backend, randomGraph())).dispose();
    expect(backend.settings.mode).toBe('webgpu');
    expect(warn).not.toHaveBeenCalled();
  });

  it('auto falls back with one line that says why', async () => {
    withoutAdapter();
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const backend = gpu();
    await (await compile(backend, randomGraph())).dispose();
    expect(backend.settings.mode).toBe('webasm');
    expect(warn.mock.calls).toEqual([
      [expect.stringMatching(/^llmopt: [^\n]*no WebGPU adapter answers[^\n]*"webasm"/)],
    ]);
  });

  it('webgpu does not fall back', async () => {
    withoutAdapter();
    await expect(compile(gpu({ mode: 'webgpu' }), randomGraph())).rejects.toThrow(code('LLMOPT_PROVIDER_MISSING'));
  });
});

it('says what to install where gpu.js is missing', async () => {
  vi.doMock('gpu.js', () => {
    throw new Error("Cannot find package 'gpu.js'");
  });
  await expect(compile(gpu(), randomGraph())).rejects.toMatchObject({
    code: 'LLMOPT_PACKAGE_MISSING',
    hint: expect.stringContaining('npm install gpu.js webgpu'),
  });
});

for (const { mode, skip, title } of gpuModes) {
  describe(`an executable ${title}`, () => {
    it.skipIf(skip)('does one forward at a time, and none when it was disposed of', async () => {
      const executable = await compile(gpu({ mode }), randomGraph());
      const slot = executable.kv.acquire()!;
      const batch = { tokens: [1], slots: [slot], positions: [0], logits: [0] };
      const first = executable.forward(batch);
      await expect(executable.forward(batch)).rejects.toThrow(code('LLMOPT_BUSY'));
      await first;
      expect(executable.kv.length(slot)).toBe(1);
      await executable.dispose();
      await executable.dispose();
      await expect(executable.forward({ ...batch, positions: [1] })).rejects.toThrow(code('LLMOPT_DISPOSED'));
    });

    it.skipIf(skip)('can be disposed of while it runs', async () => {
      const executable = await compile(gpu({ mode }), randomGraph());
      const slot = executable.kv.acquire()!;
      const running = executable.forward({ tokens: [1], slots: [slot], positions: [0], logits: [0] });
      const outcome = expect(running).rejects.toThrow(code('LLMOPT_DISPOSED'));
      await executable.dispose();
      await outcome;
      expect(executable.kv.length(slot)).toBe(0);
    });

    it.skipIf(skip)('says which kernel of a plugin cannot be translated, when it is compiled', async () => {
      const definition = defineOp({
        kind: 'testing.untranslatable',
        shape: (_op, context) => ({ output: context.value('input', 'float') }),
        kernels: {
          reference() {},
          gpu: {
            lower: (op, layout) => [
              {
                kernel: function mystery() {
                  return (globalThis as unknown as { nothing: { there: number } }).nothing.there;
                },
                tensors: [layout.value(op.inputs.input!)],
                output: layout.value(op.outputs.output!),
              },
            ],
          },
        },
      });
      const graph = randomGraph();
      const op: CustomOp = {
        kind: 'testing.untranslatable',
        inputs: { input: 'final' },
        outputs: { output: 'mystery' },
        params: {},
        attributes: {},
        definition,
      };
      await expect(compile(gpu({ mode }), { ...graph, ops: [...graph.ops, op] })).rejects.toThrow(
        code('LLMOPT_GPU_FAILED'),
      );
    });

    it.skipIf(skip)('stops loading when it is told to', async () => {
      const controller = new AbortController();
      const compiling = gpu({ mode }).compile(randomGraph(), {
        ...{ slots: 1, contextLength: 16, maxRows: 4, modelKey: 'test', cacheDir: undefined },
        kvCache: contiguousKvCache,
        onProgress: () => controller.abort(),
        signal: controller.signal,
      });
      await expect(compiling).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }));
    });
  });
}

describe(`on WebGPU${onlyWebGpu}`, () => {
  it.skipIf(noAdapter)('a lost device is an error, and a new pipeline gets a new device', async () => {
    const graph = randomGraph();
    const executable = await compile(gpu({ mode: 'webgpu' }), graph);
    const expected = await forwardAlone(executable, [1, 2, 3]);
    const { WebGPUContext } = await loadGpuJs();
    (await WebGPUContext.acquire()).device.destroy();
    const slot = executable.kv.acquire()!;
    const batch = { tokens: [1], slots: [slot], positions: [0], logits: [0] };
    for (let i = 0; i < 2; i++) await expect(executable.forward(batch)).rejects.toThrow(code('LLMOPT_GPU_FAILED'));
    await executable.dispose();
    const another = await compile(gpu({ mode: 'webgpu' }), graph);
    expect(await forwardAlone(another, [1, 2, 3])).toEqual(expected);
    await another.dispose();
  });

  it.skipIf(noAdapter)('what does not fit in a buffer is refused by name before it is made', async () => {
    await expect(compile(gpu({ mode: 'webgpu' }), randomGraph(), { contextLength: 2 ** 27 })).rejects.toMatchObject({
      code: 'LLMOPT_OUT_OF_MEMORY',
      message: expect.stringContaining('a table of 24 by 134217728'),
    });
  });

  it.skipIf(noAdapter)(
    'a cache that cannot grow is an error, and the sequence goes on once there is room',
    async () => {
      const graph = randomGraph({ context: 200 });
      const tokens = Array.from({ length: 70 }, (_, i) => (i * 17) % 101);
      const executable = await compile(gpu({ mode: 'webgpu' }), graph);
      const expected = await forwardAlone(executable, tokens.slice(0, 70), 32);
      await executable.dispose();
      const small = await compile(gpu({ mode: 'webgpu' }), graph);
      const slot = small.kv.acquire()!;
      await forwardPieces(small, [{ slot, tokens: tokens.slice(0, 32) }]);
      await forwardPieces(small, [{ slot, tokens: tokens.slice(32, 64) }]);
      const refusal = await refuseBuffers(3);
      await expect(forwardPieces(small, [{ slot, tokens: tokens.slice(64) }])).rejects.toThrow(
        code('LLMOPT_OUT_OF_MEMORY'),
      );
      expect(small.kv.length(slot)).toBe(64);
      refusal.mockRestore();
      expect(await forwardPieces(small, [{ slot, tokens: tokens.slice(64) }])).toEqual(expected.slice(64));
      await small.dispose();
    },
  );

  it.skipIf(noAdapter)('does not take the mistakes of others on the same GPU for its own', async () => {
    const executable = await compile(gpu({ mode: 'webgpu' }), randomGraph());
    const { WebGPUContext } = await loadGpuJs();
    const { device } = await WebGPUContext.acquire();
    const told = vi.spyOn(console, 'error').mockImplementation(() => {});
    device.createShaderModule({ code: 'this is no shader' });
    await vi.waitFor(() => expect(told).toHaveBeenCalled());
    expect(await forwardAlone(executable, [1, 2, 3])).toHaveLength(3);
    await executable.dispose();
  });

  it.skipIf(noAdapter)('gives back every byte', async () => {
    const live = await countBytes();
    const graph = randomGraph();
    for (let i = 0; i < 2; i++) {
      const executable = await compile(gpu({ mode: 'webgpu' }), graph);
      await forwardAlone(executable, [1, 2, 3], 2);
      expect(live.bytes).toBeGreaterThan(executable.memory().weightsBytes);
      await executable.dispose();
      expect(live.bytes).toBe(0);
    }
  });
});

/** From its `from`-th buffer on, the GPU has no memory. */
async function refuseBuffers(from: number) {
  const { globals } = (await import('webgpu')) as unknown as { globals: { GPUDevice: { prototype: GPUDevice } } };
  const device = globals.GPUDevice.prototype;
  const { createBuffer } = device;
  let made = 0;
  return vi.spyOn(device, 'createBuffer').mockImplementation(function (this: GPUDevice, descriptor) {
    made++;
    if (made >= from) throw new RangeError('no memory');
    return createBuffer.call(this, descriptor);
  });
}

/** Bytes of all buffers that were made from now on and are not destroyed. */
async function countBytes() {
  const { globals } = (await import('webgpu')) as unknown as { globals: { GPUDevice: { prototype: GPUDevice } } };
  const device = globals.GPUDevice.prototype;
  const { createBuffer } = device;
  const live = { bytes: 0 };
  vi.spyOn(device, 'createBuffer').mockImplementation(function (this: GPUDevice, descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    const { destroy } = buffer;
    let bytes = buffer.size;
    live.bytes += bytes;
    buffer.destroy = function (this: GPUBuffer) {
      live.bytes -= bytes;
      bytes = 0;
      return destroy.call(this);
    };
    return buffer;
  });
  return live;
}
