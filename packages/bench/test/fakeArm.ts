import { createHandlers } from '../src/arms/child.ts';
import { serveParent } from '../src/arms/serve.ts';
import { fakeArm } from './fakePipeline.ts';

// An arm process without a model. What it does is said by the model's name, or by its environment.
serveParent(
  createHandlers(async (spec, onProgress) => {
    const model = process.env.LLMOPT_FAKE ?? spec.model;
    if (model === 'dies') {
      process.stderr.write('out of luck\n', () => process.exit(7));
      return new Promise(() => {});
    }
    if (model === 'hangs') return new Promise(() => setInterval(() => {}, 1000));
    if (model === 'throws') throw new TypeError('a bug');
    onProgress?.({ stage: 'load', fraction: 1 });
    return fakeArm();
  }),
);
