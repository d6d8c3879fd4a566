/** Aborts when what is expected does not happen in time; a new expectation replaces the one before. */
export function createWatchdog() {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let problem: string | undefined;
  return {
    signal: controller.signal,
    problem: () => problem,
    expect(withinMs: number, otherwise: string) {
      clearTimeout(timer);
      timer = setTimeout(() => {
        problem = `${otherwise} for ${withinMs / 1000} s`;
        controller.abort();
      }, withinMs);
    },
    stop: () => clearTimeout(timer),
  };
}

/** What went wrong, with what was wrong beneath it. */
export function describeFault(error: unknown): string {
  const { message, cause } = error as Error;
  const detail = (cause as Error | undefined)?.message;
  return detail && detail !== message ? `${message} (${detail})` : message;
}
