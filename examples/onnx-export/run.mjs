// Runs an exported model in plain onnxruntime-node. Run: node examples/onnx-export/run.mjs [file] [token ...]
import { InferenceSession, Tensor } from 'onnxruntime-node';

const [file = 'model.onnx', ...tokens] = process.argv.slice(2);
const session = await InferenceSession.create(file);
const int64 = (values) => new Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]);
const past = session.inputMetadata.filter(({ name }) => name.startsWith('past_key_values'));
const { logits } = await session.run({
  input_ids: int64(tokens),
  attention_mask: int64(tokens.map(() => 1)),
  position_ids: int64(tokens.map((_, i) => i)),
  ...Object.fromEntries(past.map(({ name, shape }) => [name, new Tensor('float32', [], [1, shape[1], 0, shape[3]])])),
});
const last = logits.data.subarray(-logits.dims[2]);
const best = last.indexOf(Math.max(...last));
console.log(`behind tokens ${tokens.join(' ')} comes ${best}, with logit ${last[best].toFixed(4)}`);
