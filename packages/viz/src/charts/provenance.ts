import type { ServeResult } from '@llmopt/schema';

/** What was run on what, under the title of a chart of a replay. */
export function serveProvenance({ incomplete, model, settings, system, createdAt }: ServeResult): string[] {
  const { threads, precision, kv, requests, arrivals, contextLength, kvBudgetBytes } = settings;
  const budget =
    kvBudgetBytes === undefined
      ? ''
      : `, at most ${(kvBudgetBytes / 1e6).toLocaleString('en-US')} MB of memory for them`;
  return [
    ...(incomplete ? ['INCOMPLETE: the run was interrupted; what is shown was measured before'] : []),
    `${model.name} (${model.quantization}) · wasm ${precision}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
    `${requests} requests, ${arrivals} · slots of ${contextLength.toLocaleString('en-US')} tokens, keys and values ${kv}${budget}`,
    `${system.cpu}, ${system.cores} cores · Node ${system.node} · ${createdAt.slice(0, 10)}`,
  ];
}
