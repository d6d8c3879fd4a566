import type { GpuMode } from '../src/backends/gpu/device/device.ts';
import { whyNoAdapter } from '../src/backends/gpu/library.ts';

/** Why tests on WebGPU are skipped on this machine; undefined where they are not. */
export const noAdapter = await whyNoAdapter();

/** Every mode of the gpu backend; `title` names it and, where its tests are skipped, says why. */
export const gpuModes: readonly { mode: GpuMode; title: string; skip: string | undefined }[] = [
  { mode: 'webgpu', title: `in mode webgpu${noAdapter ? ` (${noAdapter})` : ''}`, skip: noAdapter },
  { mode: 'webasm', title: 'in mode webasm', skip: undefined },
  { mode: 'cpu', title: 'in mode cpu', skip: undefined },
];
