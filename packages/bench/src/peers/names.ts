/** Engines that a run can be compared with. */
export const peerNames = ['node-llama-cpp', 'transformers-js'] as const;

export type PeerName = (typeof peerNames)[number];
