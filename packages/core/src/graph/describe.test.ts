import { expect, it } from 'vitest';
import { randomGraph } from '../../test/backends.ts';
import { describeGraph } from './describe.ts';

it('prints one op per line, grouped by layer', () => {
  expect(describeGraph(randomGraph({ layers: 1 }))).toMatchInlineSnapshot(`
    "  embedded [rows, 48] = embed(token_embd.weight [101, 48])
    layer 0
      0.attentionNorm [rows, 48] = rmsNorm(embedded, blk.0.attn_norm.weight [48], epsilon=0.00001)
      0.query [rows, 48] = linear(0.attentionNorm, blk.0.attn_q.weight [48, 48])
      0.key [rows, 24] = linear(0.attentionNorm, blk.0.attn_k.weight [24, 48])
      0.value [rows, 24] = linear(0.attentionNorm, blk.0.attn_v.weight [24, 48])
      0.queryTurned [rows, 48] = rope(0.query, headDim=12, rotaryDim=12, base=10000, pairing=neighbours)
      0.keyTurned [rows, 24] = rope(0.key, headDim=12, rotaryDim=12, base=10000, pairing=neighbours)
      0.attention [rows, 48] = attention(0.queryTurned, 0.keyTurned, 0.value, heads=4, kvHeads=2, headDim=12, scale=0.2886751345948129)
      0.attentionOut [rows, 48] = linear(0.attention, blk.0.attn_output.weight [48, 48])
      0.middle [rows, 48] = add(embedded, 0.attentionOut)
      0.ffnNorm [rows, 48] = rmsNorm(0.middle, blk.0.ffn_norm.weight [48], epsilon=0.00001)
      0.gate [rows, 80] = linear(0.ffnNorm, blk.0.ffn_gate.weight [80, 48])
      0.up [rows, 80] = linear(0.ffnNorm, blk.0.ffn_up.weight [80, 48])
      0.gated [rows, 80] = gatedAct(0.gate, 0.up, activation=silu)
      0.ffnOut [rows, 48] = linear(0.gated, blk.0.ffn_down.weight [48, 80])
      0.hidden [rows, 48] = add(0.middle, 0.ffnOut)
    outside the layers
      selected [logit rows, 48] = selectRows(0.hidden)
      final [logit rows, 48] = rmsNorm(selected, output_norm.weight [48], epsilon=0.00001)
      logits [logit rows, 101] = linear(final, token_embd.weight [101, 48])"
  `);
});
