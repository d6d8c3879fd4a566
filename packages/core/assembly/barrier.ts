// Words at `at`: arrived, generation, sleepers.
// Threads arrive within tens of microseconds of each other, and waking a sleeper takes longer than that.
const SPINS: i32 = 100_000;

/** Returns when all threads have called it. Spins first, then sleeps, so that a thread that lost its core costs little. */
export function barrier(at: usize, threads: i32): void {
  const generation = atomic.load<i32>(at, 4);
  if (atomic.add<i32>(at, 1) + 1 == threads) {
    atomic.store<i32>(at, 0);
    atomic.store<i32>(at, generation + 1, 4);
    if (atomic.load<i32>(at, 8) > 0) atomic.notify(at + 4, threads);
    return;
  }
  for (let spin = 0; spin < SPINS; spin++) {
    if (atomic.load<i32>(at, 4) != generation) return;
  }
  atomic.add<i32>(at, 1, 8);
  while (atomic.load<i32>(at, 4) == generation) atomic.wait<i32>(at + 4, generation, -1);
  atomic.sub<i32>(at, 1, 8);
}
