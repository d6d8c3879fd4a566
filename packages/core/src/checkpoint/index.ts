export { defaultCacheFolder } from './cacheFolder.ts';
export type { Checkpoint, MetadataValue, TensorInfo } from './checkpoint.ts';
export { type ChecksumOptions, fileChecksum } from './checksum.ts';
export { type TensorFormat, type TensorType, tensorFormats } from './dequantize/formats.ts';
export { type GgufCheckpoint, type OpenGgufOptions, openGguf } from './gguf/open.ts';
export type { ElementType, MetadataType } from './gguf/types.ts';
