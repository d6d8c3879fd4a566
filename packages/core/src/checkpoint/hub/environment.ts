import { LlmoptError } from '../../errors.ts';

/** Address of the hub, without a slash at its end: `HF_ENDPOINT`, or huggingface.co. @throws LLMOPT_OPTION_INVALID */
export function hubEndpoint(): string {
  const value = process.env.HF_ENDPOINT || 'https://huggingface.co';
  if (URL.canParse(value) && /^https?:$/.test(new URL(value).protocol)) return value.replace(/\/+$/, '');
  throw new LlmoptError('LLMOPT_OPTION_INVALID', `HF_ENDPOINT is ${JSON.stringify(value)}, no address of a hub.`, {
    hint: 'Give it the form https://huggingface.co, or unset it.',
  });
}

/** `HF_TOKEN`, which opens gated and private models. No message holds it. @throws LLMOPT_OPTION_INVALID */
export function hubToken(): string | undefined {
  const value = process.env.HF_TOKEN?.trim();
  if (!value) return undefined;
  if (/^[\x21-\x7e]+$/.test(value)) return value;
  throw new LlmoptError('LLMOPT_OPTION_INVALID', 'HF_TOKEN holds characters that no token has.', {
    hint: 'Set it to a token of your account on the hub, or unset it.',
  });
}

/** Whether `HF_HUB_OFFLINE` forbids to ask the network: by `1`, `true`, `yes` or `on`, as huggingface_hub reads it. */
export const isOffline = () => /^(1|true|yes|on)$/i.test(process.env.HF_HUB_OFFLINE ?? '');

/** @throws LLMOPT_OFFLINE when nothing may be asked of the network */
export function refuseOffline(name: string): void {
  if (!isOffline()) return;
  throw new LlmoptError('LLMOPT_OFFLINE', `${name} is not in the cache, and HF_HUB_OFFLINE forbids to download it.`, {
    where: { model: name },
    hint: 'Unset HF_HUB_OFFLINE to download it once, or give the path of a model.',
  });
}
