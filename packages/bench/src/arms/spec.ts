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
  | { name: 'reference'; profile?: boolean };

/** A first-party plugin and its options. */
export interface PluginSpec {
  name: 'larosa';
  options: { sparsity: number };
}

function backendOf(spec: BackendSpec): Backend {
  const { name, ...options } = spec;
  return name === 'wasm' ? wasm(options) : reference(options);
}

function pluginOf(spec: PluginSpec): Plugin {
  return larosa(spec.options);
}

/** Loads the arm's model with its plugins. @throws whatever `createPipeline` throws */
export function openArm(spec: ArmSpec, onProgress?: (progress: Progress) => void): Promise<Pipeline> {
  return createPipeline({
    model: spec.model,
    backend: backendOf(spec.backend),
    plugins: spec.plugins.map(pluginOf),
    slots: 1,
    onProgress,
  });
}
