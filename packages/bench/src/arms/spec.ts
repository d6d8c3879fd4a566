import { type Backend, createPipeline, type Pipeline, type Plugin, type Progress, reference, wasm } from '@llmopt/core';
import { type LarosaOptions, larosa } from '@llmopt/larosa';

/** An arm as plain data, so that it can be sent to the process that runs it. */
export interface ArmSpec {
  /** What messages call it. */
  name: string;
  /** Path of the model's file. */
  model: string;
  backend: BackendSpec;
  plugins: readonly PluginSpec[];
}

export type BackendSpec =
  | { name: 'wasm'; threads?: number; precision?: 'int8' | 'float32'; profile?: boolean }
  | { name: 'reference' }
  | { name: 'gpu' }
  | { name: 'onnx'; threads?: number };

export type BackendName = BackendSpec['name'];

/** What `larosa` is told beside the sparsity, as it is written on a command line; larosa itself checks it. */
export type LarosaChoice = Readonly<Record<string, string | number | boolean>>;

/** A first-party plugin and its options. */
export interface PluginSpec {
  name: 'larosa';
  options: { sparsity: number } & LarosaChoice;
}

/** Backends beside those of core's main entry point come with packages of their own, which nobody else should load. */
export async function backendOf(spec: BackendSpec): Promise<Backend> {
  switch (spec.name) {
    case 'reference':
      return reference();
    case 'gpu':
      return (await import('@llmopt/core/gpu')).gpu();
    case 'onnx':
      return (await import('@llmopt/core/onnx')).onnx({ threads: spec.threads });
    case 'wasm': {
      const { threads, precision, profile } = spec;
      return wasm({ threads, precision, profile });
    }
  }
}

/** @throws LLMOPT_OPTION_INVALID, and what reading a calibration throws */
export function pluginOf({ options }: PluginSpec): Plugin {
  return larosa(options as LarosaOptions);
}

/** A loaded arm, and what its backend says about itself: threads, precision, device, ... */
export interface OpenedArm {
  pipeline: Pipeline;
  backend: Backend['settings'];
}

/** Loads the arm's model with its plugins. @throws whatever `createPipeline` throws */
export async function openArm(spec: ArmSpec, onProgress?: (progress: Progress) => void): Promise<OpenedArm> {
  const backend = await backendOf(spec.backend);
  const plugins = spec.plugins.map(pluginOf);
  const pipeline = await createPipeline({ model: spec.model, backend, plugins, slots: 1, onProgress });
  return { pipeline, backend: backend.settings };
}
