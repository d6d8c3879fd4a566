// Core and larosa alone, as somebody installs them who wants neither a GPU nor ONNX Runtime.
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

const optional = ['webgpu', 'gpu.js', 'onnxruntime-node'];

const script = `
import assert from 'node:assert/strict';
import { createPipeline, LlmoptError } from '@llmopt/core';
import { larosa } from '@llmopt/larosa';

process.report.excludeNetwork = true;
const native = () => process.report.getReport().sharedObjects.filter((file) => file.endsWith('.node'));
const model = process.argv[2];
{
  await using pipeline = await createPipeline({ model, plugins: [larosa({ sparsity: 0.4 })] });
  const { usage } = await pipeline.generate('hello', { maxNewTokens: 8, ignoreEndToken: true });
  assert.equal(usage.outputTokens, 8);
}
const { onnx } = await import('@llmopt/core/onnx');
const { gpu } = await import('@llmopt/core/gpu');
const backends = [[onnx(), 'npm install onnxruntime-node'], [gpu(), 'npm install gpu.js webgpu']];
assert.deepEqual(native(), [], 'native code was loaded before anyone asked for it');
for (const [backend, hint] of backends) {
  await assert.rejects(createPipeline({ model, backend }), (error) => {
    assert.ok(LlmoptError.isInstance(error), String(error));
    assert.equal(error.code, 'LLMOPT_PACKAGE_MISSING');
    assert.ok(error.message.includes(hint), error.message);
    return true;
  });
}
assert.deepEqual(native(), []);
console.log('lean');
`;

/**
 * What goes wrong where nothing optional is installed, as sentences: the packages install, generate, load no native code, and their optional
 * backends say what they need.
 * @param {string[]} tarballs of core and larosa
 * @param {string} model path of a small model
 * @param {(command: string, args: string[], cwd: string) => Promise<string>} run gives the output, and throws where the command fails
 */
export async function leanInstallProblems(tarballs, model, run) {
  const project = await mkdtemp(path.join(tmpdir(), 'llmopt-lean-'));
  try {
    await writeFile(
      path.join(project, 'package.json'),
      JSON.stringify({ name: 'lean', private: true, type: 'module' }),
    );
    await run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', ...tarballs], project);
    const files = await readdir(path.join(project, 'node_modules'), { recursive: true });
    const problems = files
      .filter((file) => optional.includes(file) || file.endsWith('.node'))
      .map((file) => `lean install: node_modules holds ${file}, which nobody asked for.`);
    await writeFile(path.join(project, 'lean.mjs'), script);
    const answer = await run(process.execPath, ['lean.mjs', model], project);
    if (answer.trim() !== 'lean') problems.push(`lean install: expected "lean", got ${answer}`);
    return problems;
  } catch (error) {
    return [`lean install: ${error.stderr || error.message}`];
  } finally {
    await rm(project, { recursive: true, force: true });
  }
}
