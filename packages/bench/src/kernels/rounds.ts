/** Something that is measured once per round. */
export interface Contestant {
  name: string;
  /** Milliseconds. */
  measure(): Promise<number>;
}

/** Steps of one measurement: enough to last a while, since a single one is at the mercy of the system. */
export function stepsFor(milliseconds: number): number {
  return Math.min(20, Math.max(3, Math.ceil(40 / milliseconds)));
}

/**
 * Samples of every contestant, by round: all take their turns in every round, forwards in one and backwards in the next, so that neither a
 * drift of the machine nor the place favours one. A first round does not count.
 */
export async function measureRounds(
  contestants: readonly Contestant[],
  rounds: number,
  onProgress: (fraction: number, detail: string) => void = () => {},
): Promise<number[][]> {
  const samples: number[][] = contestants.map(() => []);
  const forwards = contestants.map((_, index) => index);
  const backwards = forwards.toReversed();
  let done = 0;
  for (let round = -1; round < rounds; round++) {
    for (const index of round % 2 === 0 ? forwards : backwards) {
      const { name, measure } = contestants[index] as Contestant;
      const detail = round < 0 ? `warm-up, ${name}` : `round ${round + 1}/${rounds}, ${name}`;
      onProgress(done++ / ((rounds + 1) * contestants.length), detail);
      const milliseconds = await measure();
      if (round >= 0) samples[index]?.push(milliseconds);
    }
  }
  return samples;
}
