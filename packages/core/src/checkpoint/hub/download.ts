import type { FileHandle } from 'node:fs/promises';
import { LlmoptError } from '../../errors.ts';
import type { HubFile } from './catalog.ts';
import { aborted, checkAnnouncedSize, failed, receive, type Transfer } from './transfer.ts';

const maxRedirects = 5;

/** Address of a file on the hub; `HF_ENDPOINT` names another hub. */
export function hubUrl({ repo, file, revision }: HubFile): string {
  const endpoint = (process.env.HF_ENDPOINT || 'https://huggingface.co').replace(/\/+$/, '');
  const path = file.split('/').map(encodeURIComponent).join('/');
  return `${endpoint}/${repo}/resolve/${encodeURIComponent(revision)}/${path}`;
}

/**
 * Downloads an address into an open file. A host that does not answer within `connectTimeoutMs`, or sends nothing for
 * `stallTimeoutMs`, counts as failed.
 * @throws LLMOPT_DOWNLOAD_FAILED, LLMOPT_CHECKSUM_MISMATCH, LLMOPT_WRITE_FAILED, LLMOPT_ABORTED
 */
export async function download(url: string, file: FileHandle, transfer: Transfer): Promise<void> {
  const { name, signal } = transfer;
  if (signal?.aborted) throw aborted(name, signal);
  const watchdog = createWatchdog();
  const either = signal ? AbortSignal.any([signal, watchdog.signal]) : watchdog.signal;
  try {
    watchdog.expect(transfer.connectTimeoutMs, `${new URL(url).host} did not answer`);
    const { response, sha256 } = await follow(url, transfer, either);
    const expected = { ...transfer.expected, sha256: transfer.expected.sha256 ?? sha256 };
    // Content codings would make the announced length that of something else.
    const length = response.headers.get('content-encoding') ? null : response.headers.get('content-length');
    if (length !== null) {
      checkAnnouncedSize(transfer, Number(length));
      expected.sizeBytes = Number(length);
    }
    const host = new URL(response.url).host;
    await receive(watched(response.body!, watchdog, transfer.stallTimeoutMs, host), file, { ...transfer, expected });
  } catch (cause) {
    if (signal?.aborted) throw aborted(name, signal);
    if (LlmoptError.isInstance(cause)) throw cause;
    throw failed(name, watchdog.problem() ?? describe(cause), cause);
  } finally {
    watchdog.stop();
  }
}

/** Follows redirects by hand, since only the first answer of the hub carries the file's checksum. */
async function follow(start: string, { name }: Transfer, signal: AbortSignal) {
  let url = start;
  let sha256: string | undefined;
  for (let hop = 0; hop <= maxRedirects; hop++) {
    const response = await fetch(url, { redirect: 'manual', signal, headers: { 'accept-encoding': 'identity' } });
    sha256 ??= response.headers.get('x-linked-etag')?.match(/^"?([0-9a-f]{64})"?$/)?.[1];
    const location = response.headers.get('location');
    if (response.status >= 300 && response.status < 400 && location) {
      await response.body?.cancel();
      url = new URL(location, url).href;
      continue;
    }
    if (response.status === 200 && response.body) return { response, sha256 };
    await response.body?.cancel();
    throw failed(
      name,
      `${new URL(url).host} answered ${response.status}${response.statusText ? ` ${response.statusText}` : ''}`,
    );
  }
  throw failed(name, `there were more than ${maxRedirects} redirects`);
}

async function* watched(body: AsyncIterable<Uint8Array>, watchdog: Watchdog, stallTimeoutMs: number, host: string) {
  watchdog.expect(stallTimeoutMs, `${host} stopped sending`);
  for await (const part of body) {
    yield part;
    watchdog.expect(stallTimeoutMs, `${host} stopped sending`);
  }
}

type Watchdog = ReturnType<typeof createWatchdog>;

/** Aborts when what is expected does not happen in time; a new expectation replaces the one before. */
function createWatchdog() {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let problem: string | undefined;
  return {
    signal: controller.signal,
    problem: () => problem,
    expect(withinMs: number, otherwise: string) {
      clearTimeout(timer);
      timer = setTimeout(() => {
        problem = `${otherwise} for ${withinMs / 1000} s`;
        controller.abort();
      }, withinMs);
    },
    stop: () => clearTimeout(timer),
  };
}

function describe(error: unknown): string {
  const { message, cause } = error as Error;
  const detail = (cause as Error | undefined)?.message;
  return detail && detail !== message ? `${message} (${detail})` : message;
}
