import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { LlmoptError } from '../../errors.ts';
import type { HubFile } from './catalog.ts';
import { hubEndpoint } from './environment.ts';
import { openReception, type Reception } from './reception.ts';
import { refusal, request } from './request.ts';
import { aborted, checkAnnouncedSize, type Expected, failed, type Transfer } from './transfer.ts';
import { createWatchdog, describeFault } from './watchdog.ts';

const maxAttempts = 20;

/** Address of a file on the hub. */
export function hubUrl({ repo, file, revision }: HubFile): string {
  const path = file.split('/').map(encodeURIComponent).join('/');
  return `${hubEndpoint()}/${repo}/resolve/${encodeURIComponent(revision)}/${path}`;
}

/**
 * Downloads a file of the hub and checks it. When the connection is cut, what has arrived is kept and the rest asked for: at once
 * as long as every attempt gets further than all before it, and else by the next call. Only a file with a checksum, expected or
 * named by the hub, is gone on with. A host that does not answer within `connectTimeoutMs`, or sends nothing for
 * `stallTimeoutMs`, counts as cut off.
 * @returns the path of the complete file, to be renamed by the caller
 * @throws LLMOPT_DOWNLOAD_FAILED, LLMOPT_CHECKSUM_MISMATCH, LLMOPT_MODEL_NOT_FOUND, LLMOPT_ACCESS_DENIED, LLMOPT_WRITE_FAILED,
 * LLMOPT_ABORTED
 */
export async function download(url: string, transfer: Transfer): Promise<string> {
  const { name, signal } = transfer;
  const state: State = { expected: { ...transfer.expected }, reception: undefined, isResumed: false };
  let isComplete = false;
  try {
    let furthest = 0;
    for (let attempt = 1; !isComplete; attempt++) {
      if (signal?.aborted) throw aborted(name, signal);
      try {
        await attemptDownload(url, transfer, state);
        isComplete = true;
      } catch (error) {
        const received = state.reception?.received() ?? 0;
        const isWrong = LlmoptError.isInstance(error) && error.code === 'LLMOPT_CHECKSUM_MISMATCH';
        const isCut = LlmoptError.isInstance(error) && error.code === 'LLMOPT_DOWNLOAD_FAILED' && received > furthest;
        if (isWrong && state.reception) {
          await state.reception.restart();
          // The beginning may have been that of another file.
          if (!state.isResumed) throw error;
          state.isResumed = false;
        } else if (!isCut || attempt === maxAttempts) throw error;
        else furthest = received;
      }
    }
    return state.reception!.path;
  } finally {
    await state.reception?.close();
    if (!isComplete && state.reception?.received() === 0) await rm(state.reception.path, { force: true });
  }
}

interface State {
  /** What is expected from the start, and what the hub says of the file. */
  expected: Expected;
  reception: Reception | undefined;
  /** Whether it began with what an earlier call had left. */
  isResumed: boolean;
}

async function attemptDownload(url: string, transfer: Transfer, state: State): Promise<void> {
  const { name, signal } = transfer;
  const watchdog = createWatchdog();
  const either = signal ? AbortSignal.any([signal, watchdog.signal]) : watchdog.signal;
  try {
    watchdog.expect(transfer.connectTimeoutMs, `${new URL(url).host} did not answer`);
    const response = await ask(url, transfer, state, either);
    const reception = state.reception!;
    const host = new URL(response.url).host;
    watchdog.expect(transfer.stallTimeoutMs, `${host} stopped sending`);
    if (response.status !== 416) {
      for await (const part of response.body!) {
        await reception.add(part);
        watchdog.expect(transfer.stallTimeoutMs, `${host} stopped sending`);
      }
    }
    await reception.finish();
  } catch (cause) {
    if (signal?.aborted) throw aborted(name, signal);
    if (LlmoptError.isInstance(cause)) throw cause;
    throw failed(name, watchdog.problem() ?? describeFault(cause), cause);
  } finally {
    watchdog.stop();
  }
}

/** The answer that holds what `state.reception`, which it opens, lacks. */
async function ask(url: string, transfer: Transfer, state: State, signal: AbortSignal): Promise<Response> {
  const { name } = transfer;
  const rest = (): Record<string, string> => {
    const received = state.reception?.received() ?? 0;
    return received > 0 ? { range: `bytes=${received}-` } : {};
  };
  // A file that the hub sends itself is asked for twice where its beginning is there: only its answer tells which file it is.
  for (;;) {
    const headers = { 'accept-encoding': 'identity', ...rest() };
    const isWhole = !('range' in headers);
    const response = await request(name, url, { signal, headers }, async (answer, from) => {
      if (from === url) learn(answer, transfer, state.expected);
      if (isRedirect(answer)) await openOnce(transfer, state);
      return rest();
    });
    const { status, body } = response;
    if (status === 416 && state.reception) return response;
    if (status !== 200 && status !== 206) {
      await body?.cancel();
      throw refusal(name, response, response.url);
    }
    if (status === 200) learnLength(response, transfer, state.expected);
    const isNew = await openOnce(transfer, state);
    const received = state.reception!.received();
    if (status === 200 && isNew && isWhole && received > 0) {
      await body?.cancel();
      continue;
    }
    if (status === 200 && received > 0) await state.reception!.restart();
    if (status === 206 && !startsAt(response, received)) {
      await body?.cancel();
      throw failed(name, `${new URL(response.url).host} sent another part than the one asked for`);
    }
    return response;
  }
}

const isRedirect = ({ status, headers }: Response) => status >= 300 && status < 400 && headers.has('location');

const startsAt = ({ headers }: Response, position: number) =>
  headers.get('content-range')?.startsWith(`bytes ${position}-`) ?? false;

/** Opens the reception unless it is open; true if it was not. */
async function openOnce(transfer: Transfer, state: State): Promise<boolean> {
  if (state.reception) return false;
  const checksum = state.expected.sha256 ?? state.expected.gitSha1;
  const path = checksum === undefined ? join(transfer.folder, 'complete') : transfer.partial(checksum);
  state.reception = await openReception(path, state.expected, transfer);
  state.isResumed = state.reception.received() > 0;
  return true;
}

/** Size and checksum as the hub names them: SHA-256 of big files, git's SHA-1 of others. */
function learn({ headers }: Response, transfer: Transfer, expected: Expected): void {
  const [, checksum] = headers.get('x-linked-etag')?.match(/^"?([0-9a-f]+)"?$/) ?? [];
  if (checksum?.length === 64) expected.sha256 ??= checksum;
  if (checksum?.length === 40 && expected.sha256 === undefined) expected.gitSha1 ??= checksum;
  learnSize(headers.get('x-linked-size'), transfer, expected);
}

/** Content codings would make the announced length that of something else. */
function learnLength({ headers }: Response, transfer: Transfer, expected: Expected): void {
  if (!headers.get('content-encoding')) learnSize(headers.get('content-length'), transfer, expected);
}

function learnSize(text: string | null, transfer: Transfer, expected: Expected): void {
  if (text === null || !/^[0-9]{1,15}$/.test(text)) return;
  checkAnnouncedSize({ name: transfer.name, expected }, Number(text));
  expected.sizeBytes = Number(text);
}
