import { LlmoptError } from '../../errors.ts';
import { isCustom } from '../../ops/op.ts';
import type { Backend } from '../backend.ts';
import type { Device, GpuMode } from './device/device.ts';
import { openHost } from './device/host.ts';
import { openWebGpu } from './device/webgpu.ts';
import { compileGpu } from './executable.ts';
import { loadGpuJs, whyNoAdapter } from './library.ts';
import { customKernel } from './program.ts';

export type {
  GpuCall,
  GpuCube,
  GpuExtent,
  GpuFunction,
  GpuKernel,
  GpuLayout,
  GpuMatrix,
  GpuTensor,
  GpuThread,
  GpuVector,
} from './abi.ts';
export type { GpuMode } from './device/device.ts';

export interface GpuOptions {
  /**
   * `auto` (default): `webgpu` where an adapter answers, else gpu.js's `webasm`, else its `cpu`, with one line on the console that
   * says why. A mode that is named is used or refused.
   */
  mode?: 'auto' | GpuMode;
}

const modes = ['auto', 'webgpu', 'webasm', 'cpu'] as const;

/**
 * The GPU backend: every op as a gpu.js kernel, in float32; weights and KV cache stay on the device. Needs the packages `gpu.js` and, in
 * Node, `webgpu`, which are loaded by `compile`. Until then `settings` say which mode is asked for; from then on, which mode and device
 * are used.
 * @throws LLMOPT_OPTION_INVALID; `compile` throws LLMOPT_PACKAGE_MISSING, LLMOPT_PROVIDER_MISSING, LLMOPT_OUT_OF_MEMORY, LLMOPT_GPU_FAILED
 */
export function gpu(options: GpuOptions = {}): Backend {
  const { mode = 'auto' } = options;
  if (!modes.includes(mode)) {
    throw new LlmoptError('LLMOPT_OPTION_INVALID', `mode is "${mode}"; ${modes.join(', ')} are allowed.`);
  }
  let settings: Backend['settings'] = { mode, precision: 'float32' };
  return {
    name: 'gpu',
    get settings() {
      return settings;
    },
    capabilities: new Set(['channels', 'values', 'slots', 'kvCache', 'logits'] as const),
    supports: (op) => !isCustom(op) || customKernel(op) !== undefined,
    async compile(graph, compileOptions) {
      const device = await openDevice(mode);
      settings = { mode: device.mode, device: device.name, precision: 'float32' };
      return compileGpu(graph, device, compileOptions);
    },
  };
}

async function openDevice(mode: NonNullable<GpuOptions['mode']>): Promise<Device> {
  const library = await loadGpuJs();
  if (mode === 'webasm' || mode === 'cpu') return openHost(library, mode);
  const reason = await whyNoAdapter();
  if (!reason) return openWebGpu(library);
  if (mode === 'webgpu') {
    throw new LlmoptError('LLMOPT_PROVIDER_MISSING', `There is no GPU to use: ${reason}.`, {
      hint: 'Install a driver (on Linux one for Vulkan), or use mode "auto" or the wasm backend.',
    });
  }
  const fallback = library.GPU.isWebAssemblySupported ? 'webasm' : 'cpu';
  console.warn(
    `llmopt: there is no GPU to use (${reason}); the gpu backend runs in gpu.js's mode "${fallback}". The wasm backend is faster than that.`,
  );
  return openHost(library, fallback);
}
