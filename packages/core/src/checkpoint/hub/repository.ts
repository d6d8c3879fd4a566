import { mkdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { LlmoptError } from '../../errors.ts';
import { writeAtomically } from '../atomicFile.ts';
import { isJsonObject, readJsonObject } from '../json.ts';
import { findShards, indexName, isShardName, singleName } from '../safetensors/shards.ts';
import { download, hubUrl } from './download.ts';
import { refuseOffline } from './environment.ts';
import { fetchFile, type TransferOptions } from './fetchFile.ts';
import { type ListedFile, listRepository } from './listing.ts';
import { withLock } from './lock.ts';
import type { HubName } from './names.ts';
import { failed } from './transfer.ts';

/** What besides the weights is taken of a repository, where it is there. */
const sideFiles = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
];

const manifestName = 'llmopt.json';

/** What a folder in the cache is to hold, all of one commit. */
interface Manifest {
  version: 1;
  repo: string;
  revision: string;
  commit: string;
  files: ListedFile[];
}

/**
 * Gets what a model in safetensors needs of a repository of the hub: configuration, tokenizer, weights. `folder` is filled with files of one
 * commit, each checked before it gets its name; what a cut download lacks, the next call adds. A revision that is there is
 * not looked up again.
 * @throws LLMOPT_MODEL_NOT_FOUND, LLMOPT_ACCESS_DENIED, LLMOPT_DOWNLOAD_FAILED, LLMOPT_CHECKSUM_MISMATCH, LLMOPT_OFFLINE,
 * LLMOPT_WRITE_FAILED, LLMOPT_ABORTED
 */
export async function fetchRepository(folder: string, hub: HubName, transfer: TransferOptions): Promise<void> {
  const known = await readManifest(folder);
  if (known && (await missingFiles(folder, known)).length === 0) return;
  refuseOffline(transfer.name);
  await makeFolder(dirname(folder));
  await withLock(`${folder}.lock`, transfer.signal, async () => {
    const manifest = (await readManifest(folder)) ?? (await startManifest(folder, hub, transfer));
    const missing = await missingFiles(folder, manifest);
    const total = sum(manifest.files);
    let done = total - sum(missing);
    for (const file of missing) {
      const start = done;
      await fetchListed(folder, { ...hub, revision: manifest.commit }, file, {
        ...transfer,
        onProgress: (fraction) => transfer.onProgress((start + fraction * file.sizeBytes) / total),
      });
      done += file.sizeBytes;
    }
  });
}

const sum = (files: readonly ListedFile[]) => files.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0);

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (cause) {
    throw new LlmoptError('LLMOPT_WRITE_FAILED', `${folder} cannot be created: ${(cause as Error).message}.`, {
      hint: 'Check the permissions, or name another cache folder in LLMOPT_CACHE.',
      cause,
    });
  }
}

function fetchListed(folder: string, hub: HubName, file: ListedFile, transfer: TransferOptions): Promise<void> {
  const { path, sizeBytes, sha256, gitSha1 } = file;
  const source = {
    name: 'the hub',
    deliver: (into: Parameters<typeof download>[1]) => download(hubUrl({ ...hub, file: path }), into),
  };
  const own = { ...transfer, name: `${path} of ${transfer.name}`, expected: { sizeBytes, sha256, gitSha1 } };
  return fetchFile(join(folder, path), [source], own, () => hasSize(join(folder, path), sizeBytes));
}

async function hasSize(path: string, sizeBytes: number): Promise<boolean> {
  const stats = await stat(path).catch(() => undefined);
  return stats?.isFile() === true && stats.size === sizeBytes;
}

/** Files appear when they are complete and checked, so that a look at the size is enough. */
async function missingFiles(folder: string, { files }: Manifest): Promise<ListedFile[]> {
  const isThere = await Promise.all(files.map(({ path, sizeBytes }) => hasSize(join(folder, path), sizeBytes)));
  return files.filter((_, index) => !isThere[index]);
}

/** Looks the revision up and settles which of its files are needed. Nothing of another commit stays in the folder. */
async function startManifest(folder: string, hub: HubName, transfer: TransferOptions): Promise<Manifest> {
  const { commit, files } = await listRepository(hub, transfer);
  const find = (path: string) => files.find((file) => file.path === path);
  const wanted = sideFiles.flatMap((path) => find(path) ?? []);
  const single = find(singleName);
  const index = find(indexName);
  if (!find('config.json') || !(single ?? index)) throw notRunnable(hub, transfer.name, files);
  await rm(folder, { recursive: true, force: true });
  await makeFolder(folder);
  if (single) wanted.push(single);
  else {
    await fetchListed(folder, { ...hub, revision: commit }, index!, { ...transfer, onProgress: () => {} });
    const { fileOf } = await findShards(join(folder, indexName));
    const shards = [...new Set(fileOf!.values())].map((path) => basename(path));
    const listed = shards.map((path) => find(path));
    const lost = shards.filter((_, place) => !listed[place]);
    if (lost.length > 0) throw failed(transfer.name, `its index names ${lost.join(', ')}, which the repository lacks`);
    wanted.push(index!, ...listed.filter((file) => file !== undefined));
  }
  const manifest: Manifest = { version: 1, repo: hub.repo, revision: hub.revision, commit, files: wanted };
  await writeAtomically(join(folder, manifestName), (file) => file.writeFile(`${JSON.stringify(manifest, null, 2)}\n`));
  return manifest;
}

function notRunnable({ repo, revision }: HubName, name: string, files: readonly ListedFile[]): LlmoptError {
  const at = revision === 'main' ? repo : `${repo}@${revision}`;
  const gguf = files.filter(({ path }) => path.endsWith('.gguf')).map(({ path }) => `${at}/${path}`);
  return new LlmoptError('LLMOPT_MODEL_NOT_FOUND', `${name} has no config.json with safetensors beside it.`, {
    where: { model: name },
    hint:
      gguf.length > 0
        ? `It has GGUF files; name one of them: ${gguf.slice(0, 5).join(', ')}${gguf.length > 5 ? ', …' : ''}.`
        : 'Models can be loaded from safetensors and from GGUF files; look for a copy in one of these formats.',
  });
}

/** The manifest of a folder; undefined when there is none, or none that is sound. */
async function readManifest(folder: string): Promise<Manifest | undefined> {
  const read = await readJsonObject(join(folder, manifestName)).catch(() => undefined);
  const { version, commit, files } = read?.value ?? {};
  if (version !== 1 || typeof commit !== 'string' || !Array.isArray(files) || !files.every(isListed)) return undefined;
  return read!.value as unknown as Manifest;
}

const isListed = (file: unknown): file is ListedFile =>
  isJsonObject(file) &&
  Number.isSafeInteger(file.sizeBytes) &&
  ([...sideFiles, indexName].includes(file.path as string) || isShardName(file.path));
