import type { HubFile } from './catalog.ts';

/** A model on the hub: a file of a repository, or, without one, the repository. */
export type HubName = Omit<HubFile, 'file'> & { readonly file?: string | undefined };

/**
 * `owner/repository[@revision][/path/to/file.gguf]`; undefined for anything else. Segments begin with a letter, digit or underscore,
 * so that no name leads out of the cache, and as on the hub itself none but those of the path hold `--`.
 */
export function parseHubName(name: string): HubName | undefined {
  const [owner, repository, ...path] = name.split('/');
  const [repo, revision = 'main', ...more] = repository?.split('@') ?? [];
  const place = [owner, repo, revision];
  const isSound = [...place, ...path].every((segment) => segment !== undefined && /^\w[\w.-]*$/.test(segment));
  if (!isSound || place.some((segment) => segment?.includes('--')) || more.length > 0) return undefined;
  const file = path.length === 0 ? undefined : path.join('/');
  // A repository of such a name is far less likely than a path that was mistyped.
  const looksLikeFile = /\.(gguf|safetensors|json|bin)$/.test(repo!);
  if (file === undefined ? looksLikeFile : !file.endsWith('.gguf')) return undefined;
  return { repo: `${owner}/${repo}`, revision, file };
}
