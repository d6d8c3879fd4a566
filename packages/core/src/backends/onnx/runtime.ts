import { LlmoptError } from '../../errors.ts';
import type { OnnxSettings } from './executable.ts';

export type Runtime = typeof import('onnxruntime-node');
export type Session = import('onnxruntime-node').InferenceSession;

const PACKAGE = 'onnxruntime-node';

/** Loads onnxruntime-node, which nothing else does. @throws LLMOPT_PACKAGE_MISSING */
export async function loadRuntime(): Promise<Runtime> {
  try {
    return await import('onnxruntime-node');
  } catch (cause) {
    throw new LlmoptError(
      'LLMOPT_PACKAGE_MISSING',
      `The onnx backend needs the package ${PACKAGE}, which cannot be loaded: ${(cause as Error).message}.`,
      { where: { package: PACKAGE }, hint: `Run: npm install ${PACKAGE}`, cause },
    );
  }
}

/** @throws LLMOPT_PROVIDER_MISSING that lists the providers that are there */
export function checkProviders(runtime: Pick<Runtime, 'listSupportedBackends'>, wanted: readonly string[]): void {
  const there = runtime.listSupportedBackends().map(({ name }) => name);
  const missing = wanted.filter((name) => !there.includes(name));
  if (missing.length === 0) return;
  throw new LlmoptError(
    'LLMOPT_PROVIDER_MISSING',
    `${PACKAGE} has no execution provider "${missing.join('", "')}" on this machine; it has ${there.join(', ')}.`,
    { where: { provider: missing[0]! }, hint: 'Set executionProviders to some of these.' },
  );
}

/**
 * Loads a model. Its weights are mapped from their file, and stay there: for single rows, repacking them gains nothing.
 * @throws LLMOPT_ENGINE_FAILED
 */
export async function openSession(runtime: Runtime, modelPath: string, settings: OnnxSettings): Promise<Session> {
  const providers = settings.executionProviders;
  try {
    return await runtime.InferenceSession.create(modelPath, {
      executionProviders: [...providers],
      intraOpNumThreads: settings.threads,
      interOpNumThreads: 1,
      logSeverityLevel: 3,
      extra: { session: { disable_prepacking: '1' } },
    });
  } catch (cause) {
    const bundled = runtime.listSupportedBackends().filter((provider) => provider.bundled);
    throw new LlmoptError(
      'LLMOPT_ENGINE_FAILED',
      `${PACKAGE} cannot load the model on ${providers.join(', ')}: ${(cause as Error).message.trim()}.`,
      {
        where: { file: modelPath },
        hint: `A provider may lack its device or its libraries; these are complete in the package: ${bundled.map(({ name }) => name).join(', ')}.`,
        cause,
      },
    );
  }
}
