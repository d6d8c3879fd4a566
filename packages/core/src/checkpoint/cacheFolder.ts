import envPaths from 'env-paths';

/** Where downloads, checksums and packed weights live: `LLMOPT_CACHE`, or the user's cache folder of this platform. */
export function defaultCacheFolder(): string {
  return process.env.LLMOPT_CACHE || envPaths('llmopt', { suffix: '' }).cache;
}
