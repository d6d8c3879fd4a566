import { stat } from 'node:fs/promises';
import { LlmoptError } from '../errors.ts';
import { openFile } from './fileSource.ts';

/** What a JSON text holds. @throws Error with the reason: not JSON, or a name that one object holds twice */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  const name = repeatedName(text);
  if (name !== undefined) throw new Error(`${JSON.stringify(name)} appears twice`);
  return value;
}

/** A name that an object of this sound JSON text holds twice; JSON.parse keeps the last and says nothing. */
function repeatedName(text: string): string | undefined {
  const open: Set<string>[] = [];
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === '{') open.push(new Set());
    else if (character === '}') open.pop();
    else if (character === '"') {
      const start = at++;
      while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
      let next = at + 1;
      while (' \t\n\r'.includes(text[next] ?? ':')) next++;
      if (text[next] !== ':') continue;
      const name: string = JSON.parse(text.slice(start, at + 1));
      const names = open.at(-1)!;
      if (names.has(name)) return name;
      names.add(name);
    }
  }
  return undefined;
}

/** Bytes as text. @throws Error when they are not UTF-8 */
export function decodeUtf8(bytes: Uint8Array): string {
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

export type JsonObject = Readonly<Record<string, unknown>>;

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const largestBytes = 256 * 1024 * 1024;

/**
 * Reads a file that holds one JSON object.
 * @throws LLMOPT_FILE_NOT_FOUND, LLMOPT_JSON_INVALID
 */
export async function readJsonObject(path: string): Promise<{ value: JsonObject; bytes: Uint8Array }> {
  const invalid = (problem: string, cause?: unknown) =>
    new LlmoptError('LLMOPT_JSON_INVALID', `${path} cannot be used: ${problem}.`, {
      where: { file: path },
      hint: 'The file is truncated or corrupted; download or convert it again.',
      cause,
    });
  const file = await openFile(path);
  try {
    if (file.size > largestBytes) throw invalid(`it has ${file.size} bytes; at most ${largestBytes} are read`);
    const bytes = new Uint8Array(file.size);
    await file.read(bytes, 0);
    let value: unknown;
    try {
      value = parseJson(decodeUtf8(bytes));
    } catch (cause) {
      throw invalid((cause as Error).message, cause);
    }
    if (!isJsonObject(value)) throw invalid('it holds no JSON object');
    return { value, bytes };
  } finally {
    await file.close();
  }
}

/** As `readJsonObject`, but undefined when there is no such file. @throws LLMOPT_FILE_NOT_FOUND when it cannot be read, LLMOPT_JSON_INVALID */
export async function readJsonObjectIfThere(
  path: string,
): Promise<{ value: JsonObject; bytes: Uint8Array } | undefined> {
  const isThere = await stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );
  return isThere ? readJsonObject(path) : undefined;
}
