import { LlmoptError } from '@llmopt/core';
import { describe, expect, it } from 'vitest';
import type { ArmMessage, ArmRequest } from './protocol.ts';
import { serve } from './serve.ts';

describe('serve', () => {
  it('answers in order, with progress, and with errors as data', async () => {
    const sent: ArmMessage[] = [];
    let listener: (request: ArmRequest) => void = () => {};
    const settled = Promise.withResolvers<void>();
    const on = (_: 'message', given: typeof listener) => {
      listener = given;
    };
    const send = (message: ArmMessage) => {
      sent.push(message);
      if (message.id === 3 && message.kind !== 'progress') settled.resolve();
    };
    serve(
      { on, send },
      {
        cpu: async (_, report) => {
          await new Promise((resolve) => setTimeout(resolve, 5));
          report({ stage: 'load', fraction: 0.5 });
          return { userSeconds: 1, systemSeconds: 0 };
        },
        run: async ({ prompt }) => {
          throw prompt === 0 ? new LlmoptError('LLMOPT_KV_FULL', 'full') : new TypeError('a bug');
        },
      },
    );
    const request = { maxNewTokens: 2, ignoreEndToken: true };
    listener({ id: 0, call: 'cpu', input: undefined });
    listener({ id: 1, call: 'run', input: { prompt: 0, ...request } });
    listener({ id: 2, call: 'run', input: { prompt: 1, ...request } });
    listener({ id: 3, call: 'profile', input: { prompt: 0, steps: 1 } });
    await settled.promise;
    expect(sent.map(({ id, kind }) => `${id} ${kind}`)).toEqual([
      '0 progress',
      '0 done',
      '1 failed',
      '2 failed',
      '3 failed',
    ]);
    expect(sent.slice(2)).toMatchObject([
      { error: { code: 'LLMOPT_KV_FULL', message: 'full' } },
      { error: { code: undefined, message: 'a bug' } },
      { error: { code: undefined, message: "It cannot be asked for 'profile'." } },
    ]);
  });
});
