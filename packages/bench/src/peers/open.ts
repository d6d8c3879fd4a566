import { readFile } from 'node:fs/promises';
import { findPackageJSON } from 'node:module';
import { basename } from 'node:path';
import { LlmoptError } from '@llmopt/core';
import { type ArmProcess, startArm } from '../arms/parent.ts';
import type { Reporter } from '../report/reporter.ts';
import type { PeerRecord } from '../result.ts';
import { calibrate, calibrationTokens, type Measure } from './calibrate.ts';
import { type PeerName, peerPackages } from './names.ts';
import { onnxFolder } from './onnxFolder.ts';
import type { PeerLoad, PeerSetting } from './protocol.ts';
import { quantizedCopy } from './quantizedCopy.ts';

/** A request of a peer is given up after this many times the time that it should take, and not before `leastMs`. */
const patience = 20;
const leastMs = 60_000;

/** An engine that was asked for, and that is installed. */
export interface Engine {
  name: PeerName;
  package: string;
  version: string;
}

async function installedVersion(name: PeerName, from: string): Promise<string> {
  const wanted = peerPackages[name];
  try {
    const manifest = findPackageJSON(wanted, from);
    const { version } = JSON.parse(await readFile(manifest as string, 'utf8')) as { version: string };
    return version;
  } catch (cause) {
    throw new LlmoptError(
      'LLMOPT_OPTION_INVALID',
      `The peer ${name} needs the package ${wanted}, which is not installed.`,
      {
        hint: `Run: npm install ${wanted}`,
        cause,
      },
    );
  }
}

/**
 * Looks the engines up, without loading them. `from` is the module that would import them.
 * @throws LLMOPT_OPTION_INVALID if a package is missing
 */
export async function findEngines(names: readonly PeerName[], from: string = import.meta.url): Promise<Engine[]> {
  return Promise.all(
    names.map(async (name) => ({ name, package: peerPackages[name], version: await installedVersion(name, from) })),
  );
}

/** An arm to be: an engine with a file. */
export interface PeerTarget {
  engine: PeerName;
  name: string;
  package: string;
  version: string;
  /** Path of the model's file or folder. */
  file: string;
  quantization: string;
}

export interface TargetOptions {
  reporter: Reporter;
  signal?: AbortSignal | undefined;
}

/**
 * The arms of an engine. node-llama-cpp: on a Q8_0 copy, and on the original file if that is something else. transformers.js: on
 * the model as ONNX, in float32.
 */
export async function targetsOf(
  engine: Engine,
  original: { file: string; quantization: string },
  { reporter, signal }: TargetOptions,
): Promise<PeerTarget[]> {
  const { name, version } = engine;
  const target = (title: string, file: string, quantization: string): PeerTarget => ({
    engine: name,
    name: `${name} ${title}`,
    package: engine.package,
    version,
    file,
    quantization,
  });
  const { file, quantization } = original;
  const progress = (fraction: number, detail: string) => reporter.progress(fraction, detail);
  if (name === 'transformers-js') {
    const folder = await onnxFolder(file, { signal, onProgress: ({ fraction }) => progress(fraction, 'ONNX model') });
    return [target('F32', folder, 'F32')];
  }
  if (quantization === 'Q8_0') return [target('Q8_0', file, quantization)];
  const copy = await quantizedCopy(file, {
    signal,
    onProgress: (fraction) => progress(fraction, 'Q8_0 copy'),
  });
  return [target('Q8_0', copy, 'Q8_0'), target('original', file, quantization)];
}

export interface PeerOptions extends TargetOptions {
  prompts: PeerLoad['prompts'];
  maxNewTokens: number;
  sequences?: PeerLoad['sequences'];
  contextLength?: PeerLoad['contextLength'];
  /** What makes a setting the best. Default: how fast it decodes a single request. */
  measure?: Measure;
  /** Starts the process of an arm. Default: this package's own. */
  start?: (name: string, setting: PeerSetting) => ArmProcess;
}

/**
 * A peer's process, loaded with the setting that decodes fastest. Its calls do not wait for ever: an engine whose
 * threads wait for each other may never answer.
 * @throws LLMOPT_BENCH_FAILED, LLMOPT_ABORTED
 */
export async function openPeer(
  target: PeerTarget,
  options: PeerOptions,
): Promise<{ arm: ArmProcess; record: PeerRecord }> {
  const { prompts, maxNewTokens, sequences, contextLength, measure, reporter, signal } = options;
  const {
    start = (name, { poolThreads }) =>
      startArm(name, { module: 'peer', signal, env: poolThreads ? { UV_THREADPOOL_SIZE: String(poolThreads) } : {} }),
  } = options;
  const { engine, ...about } = target;
  const { name, file } = target;
  const load = {
    ...{ engine, file, prompts, maxNewTokens: Math.max(maxNewTokens, calibrationTokens) },
    ...(sequences !== undefined && { sequences }),
    ...(contextLength !== undefined && { contextLength }),
  };
  const calibration = await calibrate({
    name,
    load,
    measure,
    usesPool: engine === 'node-llama-cpp',
    start: (setting) => start(name, setting),
    onProgress: reporter.progress,
  });
  const { setting, decodeTokensPerSecond, prefillTokensPerSecond } = calibration.decode;
  const longest = Math.max(...prompts.map(({ length }) => length));
  const expectedMs = (longest / prefillTokensPerSecond + maxNewTokens / decodeTokensPerSecond) * 1000;
  const timeoutMs = Math.max(leastMs, patience * expectedMs);

  const process = start(name, setting);
  const arm: ArmProcess = {
    ...process,
    call: (call, input, callOptions) => process.call(call, input, { timeoutMs, ...callOptions }),
  };
  try {
    const report = await arm.call('loadPeer', { ...load, setting });
    return {
      arm,
      record: { ...about, file: basename(file), setting, load: report, calibration, samples: [], responses: [] },
    };
  } catch (error) {
    await arm.stop();
    throw error;
  }
}
