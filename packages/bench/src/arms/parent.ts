import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { LlmoptError } from '@llmopt/core';
import type { ArmCall, ArmCalls, ArmMessage, PlainError } from './protocol.ts';

/** Lines of a child's output that an error may quote. */
const quotedLines = 15;
/** How long a child may take to end before it is killed. */
const graceMs = 2_000;

export interface CallOptions {
  /** The process is killed, and the call fails, when it has not answered after this long. Default: it may take for ever. */
  timeoutMs?: number;
  onProgress?: (progress: { stage: string; fraction: number }) => void;
}

/** A process that runs one arm. It is idle between calls. */
export interface ArmProcess {
  readonly name: string;
  readonly pid: number;
  /** @throws what the call threw over there, LLMOPT_BENCH_FAILED when the process dies or takes too long, LLMOPT_ABORTED when stopped */
  call<Call extends ArmCall>(
    call: Call,
    input: ArmCalls[Call]['input'],
    options?: CallOptions,
  ): Promise<ArmCalls[Call]['output']>;
  /** Ends the process; pending calls reject. Resolves when it is gone. */
  stop(): Promise<void>;
}

/** A file that runs in the child: built beside this one's bundle, or the source when the source is what runs. */
function entryOf(module: 'arm' | 'peer'): URL {
  const fromSource = import.meta.url.endsWith('.ts');
  return fromSource ? new URL(`../${module}.ts`, import.meta.url) : new URL(`./${module}.js`, import.meta.url);
}

export interface ArmOptions {
  /** What serves the arm: a pipeline, or another engine. Default `arm`. */
  module?: 'arm' | 'peer';
  /** The file that serves it. Default: that of `module`. */
  entry?: URL;
  /** Variables of its environment beside those of this process. */
  env?: Readonly<Record<string, string>>;
  signal?: AbortSignal | undefined;
}

function revive(arm: string, { code, message, stack }: PlainError): LlmoptError {
  const error = new LlmoptError(code ?? 'LLMOPT_BENCH_FAILED', code ? message : `The ${arm} arm failed: ${message}`, {
    where: { arm },
  });
  if (stack !== undefined) error.stack = stack;
  return error;
}

/** Keeps the last lines that a child writes. */
function lastLines(child: ChildProcess): () => string {
  let tail = '';
  const keep = (chunk: Buffer) => {
    tail = (tail + chunk.toString())
      .split('\n')
      .slice(-quotedLines - 1)
      .join('\n');
  };
  child.stderr?.on('data', keep);
  child.stdout?.on('data', keep);
  return () => tail.trim();
}

/** Starts a process for an arm. A signal ends it at once, and every pending call rejects with LLMOPT_ABORTED. */
export function startArm(name: string, options: ArmOptions = {}): ArmProcess {
  const { module = 'arm', entry = entryOf(module), env, signal } = options;
  const child = fork(fileURLToPath(entry), [], {
    execArgv: [],
    env: { ...process.env, ...env },
    serialization: 'advanced',
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  });
  const output = lastLines(child);
  const pending = new Map<
    number,
    { resolve: (value: never) => void; reject: (error: Error) => void; options: CallOptions }
  >();
  let nextId = 0;
  let ended: LlmoptError | undefined;
  let stopping = false;

  const end = (error: LlmoptError) => {
    ended ??= error;
    for (const { reject } of pending.values()) reject(ended);
    pending.clear();
  };
  const aborted = () => new LlmoptError('LLMOPT_ABORTED', `The ${name} arm was stopped.`, { where: { arm: name } });
  const gone = new Promise<void>((resolve) => {
    child.once('error', (cause) => {
      end(new LlmoptError('LLMOPT_BENCH_FAILED', `The ${name} arm could not be started: ${cause.message}.`, { cause }));
      if (child.pid === undefined) resolve();
    });
    // 'close' comes after the last output, so that the error can quote it.
    child.once('close', (code, killedBy) => {
      const how = killedBy ? `was ended by ${killedBy}` : `ended with exit code ${code}`;
      const quote = output();
      end(
        stopping
          ? aborted()
          : new LlmoptError(
              'LLMOPT_BENCH_FAILED',
              `The process of the ${name} arm ${how}.${quote ? ` Its last output was:\n${quote}` : ' It wrote nothing.'}`,
              { where: { arm: name } },
            ),
      );
      resolve();
    });
  });

  child.on('message', (message: ArmMessage) => {
    const call = pending.get(message.id);
    if (!call) return;
    if (message.kind === 'progress') {
      call.options.onProgress?.(message.progress);
      return;
    }
    pending.delete(message.id);
    if (message.kind === 'done') call.resolve(message.output as never);
    else call.reject(revive(name, message.error));
  });

  const stop = async (): Promise<void> => {
    stopping = true;
    signal?.removeEventListener('abort', onAbort);
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
    await gone;
    clearTimeout(timer);
  };
  const giveUp = (call: ArmCall, timeoutMs: number) => {
    const seconds = (timeoutMs / 1000).toFixed(1);
    end(
      new LlmoptError('LLMOPT_BENCH_FAILED', `The ${name} arm did not answer '${call}' within ${seconds} s.`, {
        where: { arm: name },
      }),
    );
    child.kill('SIGKILL');
  };
  const onAbort = () => void stop();
  if (signal?.aborted) onAbort();
  else signal?.addEventListener('abort', onAbort, { once: true });

  return {
    name,
    pid: child.pid ?? 0,
    call(call, input, options = {}) {
      return new Promise((resolve, reject) => {
        if (ended) return reject(ended);
        if (stopping) return reject(aborted());
        const id = nextId++;
        const { timeoutMs } = options;
        const timer = timeoutMs === undefined ? undefined : setTimeout(() => giveUp(call, timeoutMs), timeoutMs);
        const settle =
          <Outcome>(act: (outcome: Outcome) => void) =>
          (outcome: Outcome) => {
            clearTimeout(timer);
            act(outcome);
          };
        pending.set(id, { resolve: settle(resolve), reject: settle(reject), options });
        // A send that fails means that the process is going; 'close' says how.
        child.send({ id, call, input }, () => {});
      });
    },
    stop,
  };
}
