import type { ArmCall, ArmMessage, ArmRequest, Handlers, PlainError, Report } from './protocol.ts';

/** The channel to the parent; `process` is one. */
export interface Channel {
  on(event: 'message', listener: (message: ArmRequest) => void): unknown;
  send(message: ArmMessage): void;
}

/** An error as data. Its code is told by its look: the engine of a peer runs without the core, to keep its memory its own. */
function plainError(error: unknown): PlainError {
  const { message, stack } = error instanceof Error ? error : new Error(String(error));
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const known = typeof code === 'string' && code.startsWith('LLMOPT_');
  return { code: known ? (code as PlainError['code']) : undefined, message, stack };
}

/** Answers requests one after the other, for as long as the channel lives. */
export function serve(channel: Channel, handlers: Partial<Handlers>): void {
  let queue: Promise<void> = Promise.resolve();

  const answer = async ({ id, call, input }: ArmRequest): Promise<void> => {
    const handler = handlers[call] as ((input: unknown, report: Report) => Promise<never>) | undefined;
    const report: Report = ({ stage, fraction }) =>
      channel.send({ id, kind: 'progress', progress: { stage, fraction } });
    try {
      if (!handler) throw new Error(`It cannot be asked for '${call satisfies ArmCall}'.`);
      channel.send({ id, kind: 'done', output: await handler(input, report) });
    } catch (error) {
      channel.send({ id, kind: 'failed', error: plainError(error) });
    }
  };

  channel.on('message', (request) => {
    queue = queue.then(() => answer(request));
  });
}

/** Serves the process that started this one. */
export function serveParent(handlers: Partial<Handlers>): void {
  // Ctrl-C reaches the whole group of processes; the parent decides what becomes of its arms.
  process.on('SIGINT', () => {});
  // Not by process.exit(), which would wait for native threads that may never end.
  process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
  serve(
    { on: (event, listener) => process.on(event, listener), send: (message) => void process.send?.(message) },
    handlers,
  );
}
