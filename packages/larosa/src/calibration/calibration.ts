import type { Site } from '../budget/coefficients.ts';
import { symmetric } from '../linearAlgebra/moments.ts';
import type { SearchedBudgets } from '../search/searched.ts';
import type { SearchSettings } from '../search/settings.ts';

/** What a calibration was made of; what is equal here gives equal numbers. */
export interface CalibrationSettings {
  /** Tokens that the model has read. */
  readonly tokens: number;
  /** Tokens per sequence. */
  readonly window: number;
  /** Rows of activations that were kept. */
  readonly samples: number;
  /** Of the rows that were kept, and of text that the model wrote. */
  readonly seed: number;
  /** `self` for text that the model wrote, else the SHA-256 of the text. */
  readonly text: string;
  /** Of the search for budgets, where there was one. */
  readonly search?: SearchSettings;
}

/** What the model's activations look like. Numbers are read when asked for. */
export interface Calibration {
  readonly settings: CalibrationSettings;
  /** Of the model: see `modelChecksum`. */
  readonly model: string;
  /** SHA-256 of all numbers. */
  readonly checksum: string;
  readonly layers: number;
  /**
   * Uncentred second moments `[width, width]` of what the gains of a layer's two norms are applied to, mean per row, summed over the two norms
   * and the layers. Only of models with RMS norms.
   */
  moments(layers: readonly number[]): Promise<Float64Array>;
  /** The same of attention's output, `[headDim, headDim]`, over the query heads that share a KV head. */
  headMoments(layer: number, kvHead: number): Promise<Float64Array>;
  /**
   * Rows `[samples, width]` of the input of a site, those of an RMS norm without its gain; undefined where a layer has no such site. Rows are
   * those of the same tokens at all sites.
   */
  activations(layer: number, site: Site): Promise<Float32Array | undefined>;
  /** What an RMS norm divided each of those rows by, `[samples]`: how large the residual stream is there. */
  residualRms(layer: number, site: Site): Promise<Float32Array | undefined>;
  /** What it costs to drop inputs of each site, `[sites, costShares]`, in the order of `layerSites`: see `siteCosts`. */
  costs(): Promise<Float32Array>;
  /** The budgets that a search found, if there was one. */
  searched(): Promise<SearchedBudgets | undefined>;
}

/** Tensors of a calibration, by name. */
export interface CalibrationSource {
  names: ReadonlySet<string>;
  read(name: string): Promise<Float32Array>;
}

export const tensorNames = {
  costs: 'costs',
  searched: 'searched',
  divergences: 'searched.divergences',
  moments: (layer: number) => `${layer}.moments`,
  headMoments: (layer: number) => `${layer}.headMoments`,
  activations: (layer: number, site: Site) => `${layer}.${site}`,
  residualRms: (layer: number, site: Site) => `${layer}.${site}.rms`,
} as const;

/** A calibration over its tensors. */
export function calibrationOver(
  facts: Pick<Calibration, 'settings' | 'model' | 'checksum' | 'layers'>,
  shape: { width: number; headDim: number },
  source: CalibrationSource,
): Calibration {
  const { width, headDim } = shape;
  const readIfThere = async (name: string) => (source.names.has(name) ? source.read(name) : undefined);
  return {
    ...facts,
    async moments(layers) {
      const sum = new Float64Array((width * (width + 1)) / 2);
      for (const layer of layers) {
        const one = await source.read(tensorNames.moments(layer));
        for (let i = 0; i < sum.length; i++) sum[i]! += one[i]!;
      }
      return symmetric(sum, width);
    },
    async headMoments(layer, kvHead) {
      const all = await source.read(tensorNames.headMoments(layer));
      return Float64Array.from(all.subarray(kvHead * headDim ** 2, (kvHead + 1) * headDim ** 2));
    },
    activations: (layer, site) => readIfThere(tensorNames.activations(layer, site)),
    costs: () => source.read(tensorNames.costs),
    async searched() {
      const { search } = facts.settings;
      if (!search) return undefined;
      const [kept, divergences] = [await source.read(tensorNames.searched), await source.read(tensorNames.divergences)];
      return { sparsities: search.sparsities, kept, divergences };
    },
    residualRms: (layer, site) => readIfThere(tensorNames.residualRms(layer, site)),
  };
}
