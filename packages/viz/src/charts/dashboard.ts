import type { BenchmarkResult } from '@llmopt/schema';
import { points } from '../figures.ts';
import { page } from '../page.ts';
import { emptyPanel, type Panel } from '../panels.ts';
import { armColor, ink } from '../theme.ts';
import { agreementPanel, divergencePanel, perplexityPanel, reductionPanel, speedupPanel } from './improvements.ts';
import { peakMemoryPanel } from './memoryComparison.ts';
import { decodePanel, firstTokenPanel } from './timeComparison.ts';

/** Speed over divergence, a point per arm: up and to the left is better. The baseline diverges by nothing. */
function tradeOffPanel(result: BenchmarkResult): Panel {
  const speeds = new Map(points(result, (arm) => arm.time.tokensPerSecond).map((point) => [point.arm, point]));
  const values = result.arms.flatMap((arm, index) => {
    const speed = speeds.get(arm.name);
    const divergence = arm.name === 'baseline' ? 0 : arm.quality.klDivergence?.mean;
    return speed && divergence !== undefined ? [{ ...speed, divergence, color: armColor(index) }] : [];
  });
  const title = 'Speed against divergence';
  if (values.length < 2) return emptyPanel(title, 'not measured', 640);
  const x = {
    field: 'divergence',
    type: 'quantitative' as const,
    title: 'mean KL, nats per token',
    scale: { domain: [0, Math.max(...values.map(({ divergence }) => divergence), 1e-6) * 1.6], nice: false },
    axis: { tickCount: 5 },
  };
  const y = (field: string) => ({
    field,
    type: 'quantitative' as const,
    title: null,
    scale: { domain: [0, Math.max(...values.map(({ high }) => high)) * 1.2], nice: false },
    axis: { tickCount: 5 },
  });
  return {
    title: { text: title, subtitle: 'tokens per second over mean KL; higher and further left is better' },
    width: 640,
    height: 170,
    data: { values },
    layer: [
      { mark: { type: 'rule', color: ink, strokeWidth: 1.5 }, encoding: { x, y: y('low'), y2: { field: 'high' } } },
      {
        mark: { type: 'point', filled: true, size: 90, opacity: 1 },
        encoding: { x, y: y('value'), color: { field: 'color', type: 'nominal', scale: null } },
      },
      {
        mark: { type: 'text', align: 'left', dx: 9, dy: -2, fontSize: 12, color: ink },
        encoding: { x, y: y('value'), text: { field: 'arm', type: 'nominal' } },
      },
    ],
  };
}

export function comprehensiveDashboard(result: BenchmarkResult) {
  return page(`${result.model.name}: everything at a glance`, result, [
    [speedupPanel(result, 640)],
    [decodePanel(result), firstTokenPanel(result)],
    [peakMemoryPanel(result), perplexityPanel(result)],
    [divergencePanel(result), agreementPanel(result)],
    [tradeOffPanel(result)],
    [reductionPanel(result, 640)],
  ]);
}
