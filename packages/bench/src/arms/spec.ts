import { type Backend, createPipeline, type Pipeline, type Plugin, type Progress, reference, wasm } from '@llmopt/core';
import { larosa } from '@llmopt/larosa';

/** An arm as plain data, so that it can be sent to the process that runs it. */
export interface ArmSpec {
  name: 'baseline' | 'optimized';
  /** Path of the model's file. */
  model: string;
  backend: BackendSpec;
  plugins: readonly PluginSpec[];
}

export type BackendSpec =
  | { name: 'wasm'; threads?: number; precision?: 'int8' | 'float32'; profile?: boolean }
  | { name: 'reference' };

/** A first-party plugin and its options. */
export interface PluginSpec {
  name: 'larosa';
  options: { sparsity: number };
}

function backendOf(spec: BackendSpec): Backend {
  if (spec.name === 'reference') return reference();
  const { threads, precision, profile } = spec;
  return wasm({ threads, precision, profile });
}

function pluginOf(spec: PluginSpec): Plugin {
  return larosa(spec.options);
}

/** A loaded arm, and what its backend says about itself: threads, precision, ... */
export interface OpenedArm {
  pipeline: Pipeline;
  backend: Backend['settings'];
}

/** Loads the arm's model with its plugins. @throws whatever `createPipeline` throws */
export async function openArm(spec: ArmSpec, onProgress?: (progress: Progress) => void): Promise<OpenedArm> {
  const backend = backendOf(spec.backend);
  const plugins = spec.plugins.map(pluginOf);
  const pipeline = await createPipeline({ model: spec.model, backend, plugins, slots: 1, onProgress });
  return { pipeline, backend: backend.settings };
}
