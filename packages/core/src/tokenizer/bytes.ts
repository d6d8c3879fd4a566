/**
 * Bytes by the characters that stand for them in byte-level BPE: visible characters of Latin-1 stand for themselves, the other bytes
 * for U+0100 and up, in order.
 */
const byteOfSymbol: ReadonlyMap<string, number> = new Map(
  (() => {
    const visible = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    let moved = 0;
    return Array.from(
      { length: 256 },
      (_, byte) => [String.fromCodePoint(visible(byte) ? byte : 256 + moved++), byte] as const,
    );
  })(),
);

const encoder = new TextEncoder();

/** The bytes that a token stands for; a token that is not written in symbols stands for its own text. */
export function tokenBytes(token: string): Uint8Array {
  const bytes: number[] = [];
  for (const symbol of token) {
    const byte = byteOfSymbol.get(symbol);
    if (byte === undefined) return encoder.encode(token);
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}
