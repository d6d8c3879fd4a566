import { definePlugin, LlmoptError, type Plugin } from '@llmopt/core';
import { createManagedCache, type ManagedCache, type VattentionStats } from './cache/managedCache.ts';
import { readSequence, type SavedSequence, type SequenceOwner, writeSequence } from './file/sequenceFile.ts';
import { settingsOf, type VattentionOptions } from './options.ts';

/** The plugin, and what can be asked of it while its pipeline is there. */
export interface Vattention extends Plugin {
  /**
   * Gives memory back until no more than so many bytes are committed that no running sequence needs. Default 0. Returns how many bytes it gave
   * back: 0 where memory cannot be given back, or only all at once in the next pause, and before the pipeline is there.
   */
  trim(bytes?: number): number;
  /** @throws LLMOPT_DISPOSED when there is no pipeline */
  stats(): VattentionStats;
  /**
   * Writes keys and values of the longest beginning of these tokens that a slot holds, of a sequence that runs or of one that ended.
   * @throws LLMOPT_KV_FILE when no slot holds one, or the backend does not let them be read; LLMOPT_WRITE_FAILED, LLMOPT_DISPOSED
   */
  save(tokens: readonly number[], file: string): Promise<SavedSequence>;
  /**
   * Reads what `save` wrote for the same model into a free slot, so that the next sequence that begins like it need not compute it again.
   * @throws LLMOPT_KV_FILE, LLMOPT_FILE_NOT_FOUND, LLMOPT_KV_BUDGET, LLMOPT_KV_FULL, LLMOPT_SLOTS_EXHAUSTED, LLMOPT_DISPOSED
   */
  restore(file: string): Promise<SavedSequence>;
}

/**
 * KV memory on demand: a slot has address space for the whole context and memory behind its tokens only, which is given back when it is not
 * needed. What a sequence computed stays, within a budget, for the next one with the same beginning. The object belongs to one pipeline at a time.
 * @throws LLMOPT_OPTION_INVALID
 */
export function vattention(options: VattentionOptions = {}): Readonly<Vattention> {
  const settings = settingsOf(options);
  let current: { cache: ManagedCache; owner: SequenceOwner } | undefined;
  let inUse = false;

  function pipeline() {
    if (current) return current;
    throw new LlmoptError('LLMOPT_DISPOSED', 'vattention: there is no pipeline.', {
      hint: 'Give the plugin to createPipeline first, and use it until the pipeline is disposed.',
    });
  }
  function withPrefixes() {
    if (settings.prefixReuse) return pipeline();
    throw new LlmoptError(
      'LLMOPT_OPTION_INVALID',
      'vattention: with prefixReuse false nobody knows which tokens a slot holds.',
      {
        hint: 'Leave prefixReuse on to save and to restore.',
      },
    );
  }

  return definePlugin({
    name: 'vattention',
    version: '0.1',
    // No options: whatever they are, the outcome is the same, and what is cached for one is good for another.
    fidelity: 'exact',
    claims: ['kvCache'],
    requires: ['kvCache'],
    kvCache(layout, context) {
      if (inUse) {
        throw new LlmoptError('LLMOPT_PLAN', 'This vattention belongs to another pipeline.', {
          hint: 'Make one for each pipeline, or dispose the other pipeline first.',
        });
      }
      const cache = createManagedCache(layout, context, settings);
      current = { cache, owner: { modelKey: context.modelKey, layout, sequenceBytes: cache.sequenceBytes } };
      return cache.kv;
    },
    ready() {
      inUse = true;
    },
    metrics() {
      const stats = current ? Object.entries(current.cache.stats()) : [];
      return Object.fromEntries(
        stats.flatMap(([name, value]) => (value === undefined ? [] : [[`vattention.${name}`, value]])),
      );
    },
    dispose() {
      inUse = false;
      current = undefined;
    },
    trim: (bytes = 0) => current?.cache.trim(bytes) ?? 0,
    stats: () => pipeline().cache.stats(),
    async save(tokens, file) {
      const here = withPrefixes();
      const state = here.cache.read(tokens);
      if (!state) {
        throw new LlmoptError('LLMOPT_KV_FILE', 'No slot holds the beginning of these tokens.', {
          hint: 'Save a sequence while it runs, or while its memory is warm.',
        });
      }
      return writeSequence(file, state, here.owner);
    },
    async restore(file) {
      const before = withPrefixes();
      const state = await readSequence(file, before.owner);
      // The pipeline may be another one by now.
      if (pipeline() !== before)
        throw new LlmoptError('LLMOPT_DISPOSED', 'The pipeline was disposed before the sequence was read.');
      before.cache.write(state);
      return { tokens: state.tokens.length, bytes: state.bytes.length };
    },
  });
}
