import { fileURLToPath } from 'node:url';
import { Resvg } from '@resvg/resvg-js';
import * as vega from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import { config } from './theme.ts';

// Without a font of its own a machine that has none would draw charts without text, silently.
const fontFiles = ['Inter-Regular.otf', 'Inter-SemiBold.otf'].map((name) =>
  fileURLToPath(new URL(`../fonts/${name}`, import.meta.url)),
);

const PIXELS_PER_UNIT = 2;

/** A chart as it goes to disk. */
export interface Picture {
  svg: string;
  png: Uint8Array;
}

/** The same spec gives the same bytes. */
export async function render(spec: TopLevelSpec): Promise<Picture> {
  const { spec: compiled } = compile(spec, { config });
  const view = new vega.View(vega.parse(compiled), { renderer: 'none', logLevel: vega.Error });
  try {
    const svg = await view.toSVG();
    return { svg, png: rasterize(svg) };
  } finally {
    view.finalize();
  }
}

export function rasterize(svg: string): Uint8Array {
  return new Resvg(svg, {
    fitTo: { mode: 'zoom', value: PIXELS_PER_UNIT },
    font: { fontFiles, loadSystemFonts: false, defaultFontFamily: 'Inter' },
  })
    .render()
    .asPng();
}
