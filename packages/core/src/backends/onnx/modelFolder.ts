import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Checkpoint } from '../../checkpoint/checkpoint.ts';
import { LlmoptError } from '../../errors.ts';
import type { Graph } from '../../graph/graph.ts';
import { tokenizerFiles } from '../../tokenizer/toFiles.ts';
import { type ExportOnnxOptions, exportOnnx, type OnnxFiles } from './files.ts';

/** What transformers calls llama.cpp's architectures. */
const modelTypes: Readonly<Record<string, { model_type: string; architectures: string[] }>> = {
  llama: { model_type: 'llama', architectures: ['LlamaForCausalLM'] },
  qwen2: { model_type: 'qwen2', architectures: ['Qwen2ForCausalLM'] },
  phi2: { model_type: 'phi', architectures: ['PhiForCausalLM'] },
};

// Of a folder with safetensors; those that are not there are not needed.
const copied = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'chat_template.jinja',
];

/**
 * Writes a folder that transformers.js loads: the graph as `onnx/model.onnx`, and `config.json`, `generation_config.json`,
 * `tokenizer.json` and `tokenizer_config.json` from the checkpoint. The folder gets its name when it is complete.
 * @throws LLMOPT_WRITE_FAILED, also when there is something of that name, LLMOPT_ARCHITECTURE_UNKNOWN, LLMOPT_TOKENIZER_INVALID, and
 * what `exportOnnx` throws
 */
export async function exportOnnxFolder(
  checkpoint: Checkpoint,
  graph: Graph,
  folder: string,
  options: Omit<ExportOnnxOptions, 'selectRows'> = {},
): Promise<OnnxFiles> {
  const temporary = `${folder}.${process.pid}-${randomBytes(6).toString('hex')}.tmp`;
  try {
    const { files, ...facts } = await exportOnnx(graph, path.join(temporary, 'onnx', 'model.onnx'), options);
    await writeDescription(checkpoint, graph, temporary, options.contextLength ?? graph.config.contextLength);
    // A folder that is there has files in it, and then this fails.
    await rename(temporary, folder);
    return { files: files.map((file) => path.join(folder, path.relative(temporary, file))), ...facts };
  } catch (cause) {
    await rm(temporary, { recursive: true, force: true });
    if (LlmoptError.isInstance(cause) || (cause as NodeJS.ErrnoException).syscall === undefined) throw cause;
    throw new LlmoptError('LLMOPT_WRITE_FAILED', `${folder} cannot be written: ${(cause as Error).message}.`, {
      where: { file: folder },
      hint: 'Name a folder that does not exist yet, where files may be written.',
      cause,
    });
  }
}

async function writeDescription(
  checkpoint: Checkpoint,
  graph: Graph,
  folder: string,
  contextLength: number,
): Promise<void> {
  if (checkpoint.format === 'safetensors') {
    await mkdir(folder, { recursive: true });
    for (const name of copied) {
      await copyFile(path.join(checkpoint.path, name), path.join(folder, name)).catch(
        (error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOENT') throw error;
        },
      );
    }
    return;
  }
  const files = { 'config.json': configOf(checkpoint, graph, contextLength), ...tokenizerFiles(checkpoint) };
  for (const [name, content] of Object.entries(files)) {
    await writeFile(path.join(folder, name), `${JSON.stringify(content, null, 2)}\n`);
  }
}

function configOf(checkpoint: Checkpoint, { config }: Graph, contextLength: number) {
  const type = Object.hasOwn(modelTypes, checkpoint.architecture) ? modelTypes[checkpoint.architecture] : undefined;
  if (!type) {
    throw new LlmoptError(
      'LLMOPT_ARCHITECTURE_UNKNOWN',
      `What transformers calls the architecture "${checkpoint.architecture}" is not known.`,
      { hint: `Known: ${Object.keys(modelTypes).join(', ')}.` },
    );
  }
  return {
    ...type,
    hidden_size: config.width,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    head_dim: config.headDim,
    vocab_size: config.vocabularySize,
    max_position_embeddings: contextLength,
  };
}
