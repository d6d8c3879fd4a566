import { LlmoptError } from '../../errors.ts';
import { hubEndpoint, hubToken } from './environment.ts';
import { fetchHttp1 } from './http1.ts';
import { failed } from './transfer.ts';

const maxRedirects = 5;

/** Sees every answer, redirects too, and says which headers the next request is to have besides the usual ones. */
export type OnAnswer = (response: Response, url: string) => Promise<Record<string, string> | undefined>;

/**
 * Asks the hub, and follows redirects by hand: only the hub's own answer carries a file's checksum, and the token goes to the
 * hub alone, wherever it redirects to.
 * @throws LLMOPT_DOWNLOAD_FAILED, LLMOPT_OPTION_INVALID, what `onAnswer` throws, and what fetch throws
 */
export async function request(name: string, start: string, init: RequestInit, onAnswer?: OnAnswer): Promise<Response> {
  const endpoint = new URL(hubEndpoint()).origin;
  const token = hubToken();
  const own = new Headers(init.headers);
  own.delete('authorization');
  let url = start;
  let extra: Record<string, string> | undefined;
  for (let hop = 0; hop <= maxRedirects; hop++) {
    const headers = new Headers(own);
    for (const [header, value] of Object.entries(extra ?? {})) headers.set(header, value);
    if (token !== undefined && new URL(url).origin === endpoint) headers.set('authorization', `Bearer ${token}`);
    const response = await fetchHttp1(url, { ...init, headers, redirect: 'manual' });
    extra = (await onAnswer?.(response, url)) ?? extra;
    const location = response.headers.get('location');
    if (!(response.status >= 300 && response.status < 400 && location)) return response;
    await response.body?.cancel();
    url = redirected(name, location, url);
  }
  throw failed(name, `there were more than ${maxRedirects} redirects`);
}

function redirected(name: string, location: string, from: string): string {
  const url = URL.canParse(location, from) ? new URL(location, from) : undefined;
  if (url && /^https?:$/.test(url.protocol)) return url.href;
  throw failed(name, `${new URL(from).host} redirects to ${JSON.stringify(location.slice(0, 100))}`);
}

/** What an answer other than the wanted one means. The hub's own words are in its headers. */
export function refusal(name: string, response: Response, url: string): LlmoptError {
  const { host, origin } = new URL(url);
  const said = response.headers
    .get('x-error-message')
    ?.replace(/[^\x20-\x7e]/g, '')
    .slice(0, 300);
  const status = `${host} answered ${response.status}${response.statusText ? ` ${response.statusText}` : ''}`;
  const problem = said ? `${status}, "${said}"` : status;
  if (origin === new URL(hubEndpoint()).origin) {
    if (response.status === 401 || response.status === 403) return denied(name, problem);
    if (response.status === 404) {
      return new LlmoptError('LLMOPT_MODEL_NOT_FOUND', `Getting ${name} failed: ${problem}.`, {
        where: { model: name },
        hint: 'There is no local file or folder of this name, so it was looked for on the Hugging Face hub. Check the name.',
      });
    }
  }
  return failed(name, problem);
}

function denied(name: string, problem: string): LlmoptError {
  return new LlmoptError('LLMOPT_ACCESS_DENIED', `Getting ${name} failed: ${problem}.`, {
    where: { model: name },
    hint:
      hubToken() === undefined
        ? 'The model does not exist, or it is private or gated: check the name, accept its terms on its page on the hub, and set HF_TOKEN to a token of yours.'
        : 'The token in HF_TOKEN may not read this model: accept its terms on its page on the hub, or use another token.',
  });
}
