import { LlmoptError } from '../../../errors.ts';
import { type BufferResult, type GpuJs, providesNavigatorGpu, type RunKernel } from '../library.ts';
import type { Device, DeviceFailure, Memory, Operand } from './device.ts';
import { kernelSettings } from './settings.ts';

// The numbers of GPUBufferUsage and GPUMapMode, which are globals in browsers only.
const MAP_READ = 1;
const COPY_SRC = 4;
const COPY_DST = 8;
const STORAGE = 128;

const handleOf = (operand: Operand) => operand.handle as BufferResult;

let open = 0;

/** gpu.js on WebGPU. All share the one GPU device that gpu.js keeps. */
export async function openWebGpu({ GPU, WebGPUContext, WebGPUBufferResult }: GpuJs): Promise<Device> {
  open++;
  const context = await WebGPUContext.acquire().catch((cause) => {
    open--;
    throw new LlmoptError('LLMOPT_PROVIDER_MISSING', `The GPU cannot be opened: ${cause.message}`, { cause });
  });
  const { adapter, device } = context;
  const gpu = new GPU({ mode: 'webgpu' });
  let lost: DeviceFailure | undefined;
  device.lost.then(({ message, reason }) => {
    lost = { kind: 'lost', message: message || reason };
  });
  const { info } = adapter;

  return {
    mode: 'webgpu',
    name: info.description || info.device || info.vendor || 'unnamed adapter',
    fixedSizes: false,
    async allocate(length, what, fill) {
      const buffer = await createBuffer(device, Math.max(length, 1) * 4, what, fill !== undefined);
      if (fill) {
        await fill(new Float32Array(buffer.getMappedRange()));
        buffer.unmap();
      }
      return memoryOf(buffer, length);
    },
    copy(copies) {
      const encoder = device.createCommandEncoder();
      for (const { from, fromIndex, to, toIndex, length } of copies) {
        encoder.copyBufferToBuffer(handleOf(from).buffer, fromIndex * 4, handleOf(to).buffer, toIndex * 4, length * 4);
      }
      device.queue.submit([encoder.finish()]);
    },
    kernel(source, constants) {
      let kernel: RunKernel | undefined;
      let last: BufferResult | undefined;
      return {
        async run(operands, threads, size) {
          if (kernel) kernel.setOutput(threads);
          else {
            const settings = { ...kernelSettings(source, constants), output: threads, pipeline: true };
            kernel = gpu.createKernel(String(source), settings);
          }
          const result = (await kernel(...operands.map(({ handle }) => handle))) as BufferResult;
          // Results count the references to the output that they share.
          last?.delete();
          last = result;
          result.output = size;
          return { handle: result, size };
        },
        destroy() {
          last?.delete();
          kernel?.destroy();
        },
      };
    },
    async read(operand, length) {
      const staging = device.createBuffer({ size: length * 4, usage: MAP_READ | COPY_DST });
      try {
        const encoder = device.createCommandEncoder();
        encoder.copyBufferToBuffer(handleOf(operand).buffer, 0, staging, 0, length * 4);
        device.queue.submit([encoder.finish()]);
        await staging.mapAsync(MAP_READ);
        return new Float32Array(staging.getMappedRange().slice(0));
      } finally {
        staging.destroy();
      }
    },
    // Others share the device: what they do wrong while nothing runs here is theirs.
    watch() {
      let failure: DeviceFailure | undefined;
      const onError = ({ error }: GPUUncapturedErrorEvent) => {
        failure ??= { kind: isOutOfMemory(error) ? 'outOfMemory' : 'refused', message: error.message };
      };
      device.addEventListener('uncapturederror', onError);
      return () => {
        device.removeEventListener('uncapturederror', onError);
        return lost ?? failure;
      };
    },
    async dispose() {
      await gpu.destroy();
      open--;
      // A device keeps the memory of small buffers for others, until it is destroyed itself.
      if (open === 0 && providesNavigatorGpu()) await WebGPUContext.destroy();
      else if (!lost) await settle(device);
    },
  };

  function memoryOf(buffer: GPUBuffer, length: number): Memory {
    return {
      length,
      view: (size) => ({
        size,
        handle: new WebGPUBufferResult({ buffer, output: [...size], componentCount: 1, context, kernel: undefined }),
      }),
      write: (data) => device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>),
      destroy: () => buffer.destroy(),
    };
  }
}

async function createBuffer(device: GPUDevice, size: number, what: string, mapped: boolean): Promise<GPUBuffer> {
  const refuse = (cause: unknown) =>
    new LlmoptError('LLMOPT_OUT_OF_MEMORY', `The GPU has no room for ${what}: ${size} bytes.`, {
      where: { what, bytes: size },
      hint: 'Use a shorter contextLength, fewer slots or a smaller model, or the wasm backend.',
      cause,
    });
  const most = Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize);
  if (size > most) throw refuse(`A buffer of this GPU has at most ${most} bytes.`);
  let buffer: GPUBuffer | undefined;
  let thrown: unknown;
  // The error scopes of a device are one stack for all who use it: nothing may wait between push and pop.
  device.pushErrorScope('validation');
  device.pushErrorScope('out-of-memory');
  try {
    buffer = device.createBuffer({ size, usage: STORAGE | COPY_SRC | COPY_DST, mappedAtCreation: mapped });
  } catch (error) {
    thrown = error;
  }
  const errors = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
  const error = thrown ?? errors.find((found) => found !== null);
  if (error || !buffer) throw refuse(error);
  return buffer;
}

/** The memory of destroyed buffers is freed when work that was submitted later has ended. */
async function settle(device: GPUDevice): Promise<void> {
  const buffer = device.createBuffer({ size: 4, usage: MAP_READ | COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.clearBuffer(buffer);
  device.queue.submit([encoder.finish()]);
  await buffer.mapAsync(MAP_READ).catch(() => {});
  buffer.destroy();
}

function isOutOfMemory(error: GPUError): boolean {
  return error.constructor.name === 'GPUOutOfMemoryError';
}
