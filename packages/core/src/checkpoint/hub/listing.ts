import { LlmoptError } from '../../errors.ts';
import { hubEndpoint } from './environment.ts';
import type { HubName } from './names.ts';
import { refusal, request } from './request.ts';
import { aborted, failed, type Transfer } from './transfer.ts';
import { createWatchdog, describeFault } from './watchdog.ts';

/** A file at the top of a repository. */
export interface ListedFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256?: string | undefined;
  readonly gitSha1?: string | undefined;
}

export interface Listing {
  /** The commit that the revision stood for. */
  readonly commit: string;
  readonly files: readonly ListedFile[];
}

type Asking = Pick<Transfer, 'name' | 'connectTimeoutMs' | 'stallTimeoutMs' | 'signal'>;

const isHash = (value: unknown, digits: number): value is string =>
  typeof value === 'string' && value.length === digits && /^[0-9a-f]+$/.test(value);

/**
 * Asks the hub which commit a revision is and which files it has at its top.
 * @throws LLMOPT_MODEL_NOT_FOUND, LLMOPT_ACCESS_DENIED, LLMOPT_DOWNLOAD_FAILED, LLMOPT_ABORTED
 */
export async function listRepository({ repo, revision }: HubName, asking: Asking): Promise<Listing> {
  const { name, signal } = asking;
  const watchdog = createWatchdog();
  const either = signal ? AbortSignal.any([signal, watchdog.signal]) : watchdog.signal;
  // The library asks through this, so that redirects, the token, refusals and timeouts are as with files.
  const ask = async (input: RequestInfo | URL, init: RequestInit = {}) => {
    const url = String(input);
    watchdog.expect(asking.connectTimeoutMs, `${new URL(url).host} did not answer`);
    const response = await request(name, url, { ...init, signal: either });
    if (!response.ok) {
      await response.body?.cancel();
      throw refusal(name, response, response.url || url);
    }
    watchdog.expect(asking.stallTimeoutMs, `${new URL(url).host} stopped sending`);
    return response;
  };
  try {
    const { listFiles, modelInfo } = await import('@huggingface/hub');
    const hub = { hubUrl: hubEndpoint(), fetch: ask };
    const commit = isHash(revision, 40)
      ? revision
      : (await modelInfo({ ...hub, name: repo, revision, additionalFields: ['sha'] })).sha;
    if (!isHash(commit, 40)) throw failed(name, 'the hub names no commit');
    const files: ListedFile[] = [];
    for await (const entry of listFiles({ ...hub, repo: { type: 'model', name: repo }, revision: commit })) {
      if (entry.type !== 'file' || typeof entry.path !== 'string') continue;
      const sizeBytes = entry.lfs?.size ?? entry.size;
      if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0)
        throw failed(name, `the hub gives no size of ${entry.path}`);
      const sha256 = isHash(entry.lfs?.oid, 64) ? entry.lfs.oid : undefined;
      const gitSha1 = !entry.lfs && isHash(entry.oid, 40) ? entry.oid : undefined;
      files.push({ path: entry.path, sizeBytes, sha256, gitSha1 });
    }
    return { commit, files };
  } catch (cause) {
    if (signal?.aborted) throw aborted(name, signal);
    if (LlmoptError.isInstance(cause)) throw cause;
    throw failed(name, watchdog.problem() ?? describeFault(cause), cause);
  } finally {
    watchdog.stop();
  }
}
