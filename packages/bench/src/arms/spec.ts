import { type Backend, createPipeline, type Pipeline, type Plugin, type Progress, reference, wasm } from '@llmopt/core';
import { type LarosaOptions, larosa } from '@llmopt/larosa';
import { type VattentionOptions, vattention } from '@llmopt/vattention';
import type { BaselinePolicy } from '../serve/policies/names.ts';
import { baselinePlugin } from '../serve/policies/plugin.ts';
import { type SlotWatch, watchSlots } from '../serve/slotWatch.ts';

/** An arm as plain data, so that it can be sent to the process that runs it. */
export interface ArmSpec {
  /** What messages call it. */
  name: string;
  /** Path of the model's file. */
  model: string;
  backend: BackendSpec;
  plugins: readonly PluginSpec[];
  /** Sequences at once. Default 1. */
  slots?: number;
  /** Default: what the model was trained for. */
  contextLength?: number;
}

export type BackendSpec =
  | { name: 'wasm'; threads?: number; precision?: 'int8' | 'float32'; kv?: 'float32' | 'int16'; profile?: boolean }
  | { name: 'reference' }
  | { name: 'gpu' }
  | { name: 'onnx'; threads?: number };

export type BackendName = BackendSpec['name'];

/** Options of a plugin as they are written on a command line; the plugin itself checks them. */
export type PluginChoice = Readonly<Record<string, string | number | boolean>>;

/** What `larosa` is told beside the sparsity. */
export type LarosaChoice = PluginChoice;

/** A plugin and its options: a first-party one, or a way to manage the KV cache that exists to be compared with. */
export type PluginSpec =
  | { name: 'larosa'; options: { sparsity: number } & LarosaChoice }
  | { name: 'vattention'; options: PluginChoice }
  | { name: 'kv'; policy: BaselinePolicy; options: { budgetBytes?: number } };

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
      const { threads, precision, kv, profile } = spec;
      return wasm({ threads, precision, kv, profile });
    }
  }
}

/** @throws LLMOPT_OPTION_INVALID, and what reading a calibration throws */
export function pluginOf(spec: PluginSpec): Plugin {
  switch (spec.name) {
    case 'larosa':
      return larosa(spec.options as LarosaOptions);
    case 'vattention':
      return vattention(spec.options as VattentionOptions);
    case 'kv':
      return baselinePlugin(spec.policy, spec.options);
  }
}

/** A loaded arm, and what its backend says about itself: threads, precision, device, ... */
export interface OpenedArm {
  pipeline: Pipeline;
  backend: Backend['settings'];
  /** Default 1. */
  slots?: number;
  /** What goes on in the KV cache, where a plugin provides it. */
  watch?: SlotWatch;
}

/** Loads the arm's model with its plugins. @throws whatever `createPipeline` throws */
export async function openArm(spec: ArmSpec, onProgress?: (progress: Progress) => void): Promise<OpenedArm> {
  const { model, slots = 1, contextLength } = spec;
  const backend = await backendOf(spec.backend);
  let watch: SlotWatch | undefined;
  const plugins = spec.plugins.map((wanted) => {
    const plugin = pluginOf(wanted);
    if (!plugin.kvCache) return plugin;
    const isWhole = wanted.name !== 'kv' || wanted.policy !== 'grow-copy';
    const watched = watchSlots(plugin, { isWhole });
    watch = watched.watch;
    return watched.plugin;
  });
  const pipeline = await createPipeline({ model, backend, plugins, slots, contextLength, onProgress });
  return { pipeline, backend: backend.settings, slots, ...(watch && { watch }) };
}
