import { readFileSync } from 'node:fs';
import type { Executable } from '../../src/backends/backend.ts';

interface Header {
  windows: number;
  windowLength: number;
  top: number;
  recordBytes: number;
  tokens: number[];
}

const file = (name: string) => new URL(`../fixtures/${name}`, import.meta.url);

/** The distributions of a float32 reference run over four windows of prose: see tools/fixtures. */
export function parityFixture() {
  const header = JSON.parse(readFileSync(file('parity.json'), 'utf8')) as Header;
  const bytes = readFileSync(file('parity.bin'));
  const records = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    ...header,
    window: (window: number) => header.tokens.slice(window * header.windowLength, (window + 1) * header.windowLength),
    /** KL divergence of a row of logits from the record of this position (a lower bound: what is not in the top 64 counts as one). */
    compare(position: number, logits: Float32Array): { kl: number; sameTop: boolean } {
      const base = position * header.recordBytes;
      const norm = logSumExp(logits);
      let kl = 0;
      let rest = 1;
      for (let i = 0; i < header.top; i++) {
        const id = records.getInt32(base + i * 4, true);
        const logP = records.getFloat32(base + (header.top + i) * 4, true);
        const logQ = logits[id]! - norm;
        kl += Math.exp(logP) * (logP - logQ);
        rest -= Math.exp(logQ);
      }
      const logRest = records.getFloat32(base + header.top * 8, true);
      kl += Math.exp(logRest) * (logRest - Math.log(Math.max(rest, 1e-12)));
      return { kl, sameTop: indexOfLargest(logits) === records.getInt32(base, true) };
    },
  };
}

/** Mean KL and top-token agreement of an executable over some windows of the fixture. */
export async function measureParity(executable: Executable, windows: readonly number[]) {
  const fixture = parityFixture();
  const chunk = 64;
  let kl = 0;
  let same = 0;
  let count = 0;
  for (const window of windows) {
    const slot = executable.kv.acquire()!;
    const tokens = fixture.window(window);
    for (let at = 0; at < tokens.length; at += chunk) {
      const rows = tokens.slice(at, at + chunk);
      const { logits } = await executable.forward({
        tokens: rows,
        slots: rows.map(() => slot),
        positions: rows.map((_, i) => at + i),
        logits: rows.map((_, i) => i),
      });
      const width = logits.length / rows.length;
      rows.forEach((_, i) => {
        const result = fixture.compare(
          window * fixture.windowLength + at + i,
          logits.subarray(i * width, (i + 1) * width),
        );
        kl += result.kl;
        same += Number(result.sameTop);
        count++;
      });
    }
    executable.kv.release(slot);
  }
  return { meanKl: kl / count, topAgreement: same / count, positions: count };
}

function logSumExp(logits: Float32Array): number {
  let largest = -Infinity;
  for (const logit of logits) largest = Math.max(largest, logit);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return largest + Math.log(sum);
}

function indexOfLargest(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  return best;
}
