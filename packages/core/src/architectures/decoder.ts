import type { Graph } from '../graph/graph.ts';
import type { Op } from '../ops/op.ts';
import { opWriter } from './ops.ts';
import type { Source } from './source.ts';

/**
 * The decoder that most families are variants of: pre-norm blocks, rotary positions, grouped-query attention, SwiGLU.
 * `bias`: whether queries, keys and values have one.
 */
export function decoder(source: Source, { bias }: { bias: boolean }): Graph {
  const { layers, width, heads, kvHeads, headDim } = source.config;
  const ffn = source.count('ffn');
  const style = {
    norm: 'rmsNorm',
    epsilon: source.number('epsilon'),
    rotaryDim: source.count('rotaryDim', headDim),
    ropeBase: source.number('ropeBase'),
  } as const;
  const ops: Op[] = [];
  const outside = opWriter(source, ops, style);
  let residual = outside.embed('embedded');
  for (let layer = 0; layer < layers; layer++) {
    const block = opWriter(source, ops, style, layer);
    const x = block.norm('attentionNorm', residual);
    const query = block.linear('query', x, [heads * headDim, width], bias);
    const key = block.linear('key', x, [kvHeads * headDim, width], bias);
    const value = block.linear('value', x, [kvHeads * headDim, width], bias);
    const turned = { query: block.rope('queryTurned', query), key: block.rope('keyTurned', key) };
    const attention = block.attention('attention', { ...turned, value });
    const middle = block.add('middle', residual, block.linear('attentionOut', attention, [width, heads * headDim]));
    const y = block.norm('ffnNorm', middle);
    const gated = block.gatedAct('gated', block.linear('gate', y, [ffn, width]), block.linear('up', y, [ffn, width]));
    residual = block.add('hidden', middle, block.linear('ffnOut', gated, [width, ffn]));
  }
  const final = outside.norm('final', outside.selectRows('selected', residual));
  const logits = outside.head('logits', 'embedded', final);
  return { config: source.config, params: source.params(), ops, logits };
}
