import type { Backend, MemoryReport } from '../backends/backend.ts';
import { describeGraph } from '../graph/describe.ts';
import type { Graph } from '../graph/graph.ts';
import type { KvCache } from '../kv/kvCache.ts';
import type { Plan } from '../plugin/plan.ts';
import type { Pipeline } from './types.ts';

interface Described {
  model: Pipeline['model'];
  backend: Backend;
  plan: Plan;
  graph: Graph;
  memory: MemoryReport;
  kv: KvCache;
}

const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;

/** Model, plan, memory and graph as text. */
export function describePipeline({ model, backend, plan, graph, memory, kv }: Described): string {
  const settings = Object.entries(backend.settings).map(([name, value]) => `${name} ${value}`);
  const plugins = plan.plugins.map((plugin) => {
    const claims = plugin.claims?.length ? `, claims ${plugin.claims.join(', ')}` : '';
    return `  ${plugin.name} ${plugin.version}, ${plugin.fidelity}${claims} ${plugin.options ? JSON.stringify(plugin.options) : ''}`.trimEnd();
  });
  return [
    `model    ${model.name}: ${model.architecture}, ${(model.parameters / 1e6).toFixed(1)} M parameters, ${model.quantization}`,
    `backend  ${backend.name}: ${settings.join(', ')}`,
    `plugins  ${plugins.length === 0 ? 'none' : ''}`.trimEnd(),
    ...plugins,
    `memory   weights ${megabytes(memory.weightsBytes)}, values and scratch ${megabytes(memory.activationsBytes)}`,
    `KV cache ${kv.layout.slots} slots of ${kv.layout.capacity} tokens, ${kv.layout.elementType}: ${megabytes(memory.kv.reservedBytes)} reserved, ${megabytes(memory.kv.committedBytes)} used; ${kv.policy}`,
    'graph',
    describeGraph(graph),
  ].join('\n');
}
