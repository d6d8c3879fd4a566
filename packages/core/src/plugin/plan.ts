import type { Backend } from '../backends/backend.ts';
import { LlmoptError } from '../errors.ts';
import { opName } from '../graph/check.ts';
import type { Graph } from '../graph/graph.ts';
import { isCustom } from '../ops/op.ts';
import { type HookKind, hooks } from './hooks.ts';
import type { Claim, Fidelity, Hooks, Plugin } from './plugin.ts';

/** What a pipeline will do, settled before any weight is read. */
export interface Plan {
  /** In the order in which they run. */
  readonly plugins: readonly Plugin[];
  readonly claims: ReadonlyMap<Claim, string>;
  readonly backend: string;
  /** The loosest fidelity of all plugins. */
  readonly fidelity: Fidelity;
  /** Names everything that plugins contribute to the weights: names, versions, options. */
  readonly key: string;
}

/**
 * Sorts the plugins, gives out the claims and checks what they need of the backend.
 * @throws LLMOPT_PLAN that lists every problem at once
 */
export function createPlan(plugins: readonly Plugin[], backend: Backend): Plan {
  const problems: string[] = [];
  const names = new Set<string>();
  for (const plugin of plugins) {
    if (names.has(plugin.name)) problems.push(`"${plugin.name}" is there twice`);
    names.add(plugin.name);
  }
  const claims = new Map<Claim, string>();
  for (const plugin of plugins) {
    for (const claim of plugin.claims ?? []) {
      const other = claims.get(claim);
      if (other === undefined) claims.set(claim, plugin.name);
      else problems.push(`"${other}" and "${plugin.name}" both claim ${claim}; use one of them`);
    }
    for (const capability of plugin.requires ?? []) {
      if (!backend.capabilities.has(capability)) {
        problems.push(`"${plugin.name}" needs ${capability}, which the backend "${backend.name}" does not offer`);
      }
    }
    if (plugin.kvCache && !plugin.requires?.includes('kvCache') && !backend.capabilities.has('kvCache')) {
      problems.push(`"${plugin.name}" brings a KV cache, which the backend "${backend.name}" does not take`);
    }
  }
  for (const [hook, kind] of Object.entries(hooks) as [keyof Hooks, HookKind][]) {
    const those = plugins.filter((plugin) => plugin[hook] !== undefined);
    for (const plugin of those) {
      if (typeof plugin[hook] !== 'function') problems.push(`${hook} of "${plugin.name}" is no function`);
    }
    if (kind === 'exclusive' && those.length > 1) {
      problems.push(
        `${those.map(({ name }) => `"${name}"`).join(' and ')} both have the hook ${hook}; use one of them`,
      );
    }
  }
  const sorted = sort(plugins, problems);
  if (problems.length > 0) throw planError(problems);
  return Object.freeze({
    plugins: sorted,
    claims,
    backend: backend.name,
    fidelity: loosest(sorted),
    key: JSON.stringify(sorted.map(({ name, version, options }) => [name, version, options ?? null])),
  });
}

/** Checks that the backend has a kernel for every op. @throws LLMOPT_PLAN naming op, plugin and backend */
export function checkKernels(graph: Graph, backend: Pick<Backend, 'name' | 'supports'>): void {
  const missing = new Map<string, string>();
  for (const op of graph.ops) {
    if (backend.supports(op) || missing.has(op.kind)) continue;
    const owner = isCustom(op) ? `of plugin "${op.kind.slice(0, op.kind.indexOf('.'))}"` : 'as this model uses it';
    missing.set(op.kind, `the backend "${backend.name}" has no kernel for ${opName(op)}, ${owner}`);
  }
  if (missing.size > 0) throw planError([...missing.values()]);
}

function planError(problems: readonly string[]): LlmoptError {
  return new LlmoptError('LLMOPT_PLAN', 'The plugins, the backend and the model do not fit together:', {
    problems,
    hint: 'Nothing has been loaded.',
  });
}

function loosest(plugins: readonly Plugin[]): Fidelity {
  const order: readonly Fidelity[] = ['exact', 'approximate', 'vocabulary'];
  return order[Math.max(0, ...plugins.map((plugin) => order.indexOf(plugin.fidelity)))]!;
}

/** Topological by `after` and `before`, otherwise in the order given. */
function sort(plugins: readonly Plugin[], problems: string[]): readonly Plugin[] {
  const waitsFor = new Map(
    plugins.map((plugin) => [
      plugin,
      plugins.filter(
        (other) => other !== plugin && (plugin.after?.includes(other.name) || other.before?.includes(plugin.name)),
      ),
    ]),
  );
  const sorted: Plugin[] = [];
  while (sorted.length < plugins.length) {
    const next = plugins.find(
      (plugin) => !sorted.includes(plugin) && waitsFor.get(plugin)!.every((other) => sorted.includes(other)),
    );
    if (!next) {
      const cycle = plugins.filter((plugin) => !sorted.includes(plugin)).map(({ name }) => `"${name}"`);
      problems.push(`${cycle.join(', ')} each want to come after another of them`);
      return plugins;
    }
    sorted.push(next);
  }
  return sorted;
}
