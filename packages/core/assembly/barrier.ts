// Words at `at`: arrived, generation, sleepers.
// Waking a sleeper takes tens of microseconds, longer than threads are apart when each has a core: then spinning pays. When something
// else wants the cores, a thread that spins keeps the one it waits for from running: then sleeping pays. So a thread that had to sleep
// spins half as long the next time, and every 64th time it tries the longest spin again, which tells when the cores are free.
const LONGEST: i32 = 200_000;
const SHORTEST: i32 = 500;

/** Returns when all threads have called it. `patience`: two words of the calling thread, how long it spins and how often it waited. */
export function barrier(at: usize, threads: i32, patience: usize): void {
  const generation = atomic.load<i32>(at, 4);
  if (atomic.add<i32>(at, 1) + 1 == threads) {
    atomic.store<i32>(at, 0);
    atomic.store<i32>(at, generation + 1, 4);
    if (atomic.load<i32>(at, 8) > 0) atomic.notify(at + 4, threads);
    return;
  }
  const waits = load<i32>(patience, 4) + 1;
  store<i32>(patience, waits, 4);
  const probing = (waits & 63) == 1;
  const spins = probing ? LONGEST : load<i32>(patience);
  for (let spin = 0; spin < spins; spin++) {
    if (atomic.load<i32>(at, 4) == generation) continue;
    if (probing) store<i32>(patience, LONGEST);
    return;
  }
  store<i32>(patience, max<i32>(load<i32>(patience) >> 1, SHORTEST));
  atomic.add<i32>(at, 1, 8);
  while (atomic.load<i32>(at, 4) == generation) atomic.wait<i32>(at + 4, generation, -1);
  atomic.sub<i32>(at, 1, 8);
}
