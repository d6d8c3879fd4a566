/** Engines that a run can be compared with. */
export const peerNames = ['node-llama-cpp', 'transformers-js'] as const;

export type PeerName = (typeof peerNames)[number];

/** What an engine is installed as. */
export const peerPackages: Readonly<Record<PeerName, string>> = {
  'node-llama-cpp': 'node-llama-cpp',
  'transformers-js': '@huggingface/transformers',
};
