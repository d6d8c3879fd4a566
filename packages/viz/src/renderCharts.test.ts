import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { bare, fourArms, twoArms } from '../test/results.ts';
import { serve } from '../test/serve.ts';
import { sweep } from '../test/sweep.ts';
import { charts, serveCharts, sweepCharts } from './charts/index.ts';
import { rasterize, render } from './render.ts';
import { renderCharts, renderServe, renderSweep } from './renderCharts.ts';

const names = ['comprehensive_dashboard', 'improvements', 'memory_comparison', 'time_comparison', 'token_comparison'];

describe.each([
  ['two', twoArms()],
  ['four', fourArms()],
  ['bare', bare()],
])('charts of the %s result', (name, result) => {
  it.each(names)('%s looks as it did when it was last looked at', async (chart) => {
    const { svg } = await render(charts[chart]!(result));
    await expect(svg).toMatchFileSnapshot(`../test/output/${name}-${chart}.svg`);
  });
});

describe('the chart of a sweep', () => {
  const svgOf = async (result = sweep()) => (await render(sweepCharts.pareto!(result))).svg;

  it('looks as it did when it was last looked at', async () => {
    await expect(await svgOf()).toMatchFileSnapshot('../test/output/sweep-pareto.svg');
  });

  it('says where the reference is, which has no place on either axis', async () => {
    expect(await svgOf()).toContain('dense float32 (KL 0, at 538 MB →)');
  });

  it('says where another engine is compared at fewer positions', async () => {
    expect(await svgOf()).toContain('node-llama-cpp Q4_1, 1,024 positions');
    expect(await svgOf()).not.toMatch(/dense int8, [\d,]+ positions/);
  });

  it('does with what an interrupted sweep has', async () => {
    const { points } = sweep();
    const svg = await svgOf(sweep({ incomplete: true, points: points.slice(0, 1) }));
    expect(svg).toContain('INCOMPLETE');
    expect(svg).toContain('dense float32 (KL 0)');
    expect(await svgOf(sweep({ incomplete: true, points: [] }))).toContain('>not measured<');
  });

  it('shows times by their pairs: the machine that was slower later changes nothing', async () => {
    const slower = sweep();
    for (const { kind, time } of slower.points) if (kind === 'larosa' && time) time.timePerOutputTokenMs.mean *= 2;
    expect(await svgOf(slower)).toBe(await svgOf());
  });
});

describe('the charts of a replay', () => {
  const svgOf = async (chart: string, result = serve()) => (await render(serveCharts[chart]!(result))).svg;

  it.each(Object.keys(serveCharts))('%s looks as it did when it was last looked at', async (chart) => {
    await expect(await svgOf(chart)).toMatchFileSnapshot(`../test/output/serve-${chart}.svg`);
  });

  it('say where a reservation is cut off, and where memory is that of the process', async () => {
    const svg = await svgOf('kv_memory');
    // Beside what is zeroed there is room for it.
    expect(svg.match(/reserved: 755 MB, above the chart[^<"]*</g)).toHaveLength(3);
    expect(svg.match(/resident: growth of the whole process</g)).toHaveLength(1);
  });

  it('show memory with the most requests in flight, and latency with all', async () => {
    expect(await svgOf('kv_memory')).not.toContain('fixed, 1 in flight');
    expect(await svgOf('kv_memory')).not.toContain('node-llama-cpp');
    for (const row of ['vattention, 1', 'vattention, 8', 'node-llama-cpp Q8_0, 8'])
      expect(await svgOf('latency')).toContain(`>${row}<`);
  });

  it('do with what an interrupted replay has', async () => {
    for (const chart of Object.keys(serveCharts)) {
      const svg = await svgOf(chart, serve({ incomplete: true, runs: [] }));
      expect(svg).toContain('INCOMPLETE');
      expect(svg).toContain('>not measured<');
    }
  });
});

describe('charts', () => {
  const svgOf = async (chart: string, result = twoArms()) => (await render(charts[chart]!(result))).svg;

  it('say in words where an interval holds no change', async () => {
    expect(await svgOf('improvements')).toContain('1.01× (0.96× to 1.06×), no difference shown');
    expect(await svgOf('improvements')).not.toContain('1.19× (1.17× to 1.21×), no difference shown');
  });

  it('mark an interrupted run, on every chart', async () => {
    for (const chart of names) expect(await svgOf(chart, fourArms())).toContain('INCOMPLETE');
    expect(await svgOf('time_comparison')).not.toContain('INCOMPLETE');
  });

  it('begin their bars at zero', async () => {
    for (const bar of (await svgOf('time_comparison')).matchAll(/aria-roledescription="bar"[^>]*d="M(-?[\d.]+),/g)) {
      expect(Number(bar[1])).toBe(0);
    }
  });

  it('say what was not measured', async () => {
    expect((await svgOf('improvements', bare())).match(/>not measured</g)).toHaveLength(5);
  });

  it('keep arms apart whose long names begin alike', async () => {
    const result = twoArms();
    const names = ['a peer with a very long name, 1 thread', 'a peer with a very long name, 2 threads'];
    const peers = names.map((name) => ({ ...result.arms[0]!, name, kind: 'peer' as const }));
    const svg = await svgOf('time_comparison', { ...result, arms: [...result.arms, ...peers] });
    // Four bars in each of four panels, none on top of another.
    expect(svg.match(/aria-roledescription="bar"/g)).toHaveLength(16);
    expect(svg.match(/a peer with a very long…/g)?.length).toBeGreaterThanOrEqual(2);
  });

  it('really draw their text: without a font it would vanish silently', async () => {
    const svg = await svgOf('time_comparison');
    expect(rasterize(svg).length).toBeGreaterThan(rasterize(svg.replace(/<text[\s\S]*?<\/text>/g, '')).length * 1.5);
  });
});

describe('renderCharts', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'llmopt-viz-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('writes PNG and SVG of all five, and nothing else', async () => {
    const files = await renderCharts(twoArms(), path.join(folder, 'a', 'plots'));
    expect((await readdir(path.join(folder, 'a', 'plots'))).sort()).toEqual(
      names.flatMap((name) => [`${name}.png`, `${name}.svg`]),
    );
    expect(files).toHaveLength(10);
    const png = await readFile(path.join(folder, 'a', 'plots', 'improvements.png'));
    expect([...png.subarray(0, 8)]).toEqual([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  });

  it('writes that of a sweep', async () => {
    await renderSweep(sweep(), folder);
    expect((await readdir(folder)).sort()).toEqual(['pareto.png', 'pareto.svg']);
  });

  it('writes those of a replay', async () => {
    await renderServe(serve(), folder);
    expect((await readdir(folder)).sort()).toEqual(
      ['kv_memory', 'latency'].flatMap((name) => [`${name}.png`, `${name}.svg`]),
    );
  });

  it('refuses a folder that cannot be written, and leaves nothing', async () => {
    await writeFile(path.join(folder, 'file'), '');
    await expect(renderCharts(twoArms(), path.join(folder, 'file', 'plots'))).rejects.toMatchObject({
      code: 'LLMOPT_WRITE_FAILED',
      message: expect.stringContaining('Choose a folder that can be written'),
    });
    expect(await readdir(folder)).toEqual(['file']);
  });
});
