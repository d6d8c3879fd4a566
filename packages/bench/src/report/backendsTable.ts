import Table, { type CellOptions } from 'cli-table3';
import pc from 'picocolors';
import { type BackendFigures, type BackendsResult, isMeasured, type MissingBackend } from '../backends/figures.ts';
import { formatFigure, formatNumber } from './format.ts';
import { systemLine } from './resultTable.ts';
import { speedVerdict } from './verdict.ts';

const head = [
  'mean (95 % interval)',
  'decode, tokens/s',
  'prefill, tokens/s',
  'first token, ms',
  'peak memory, MB',
  'KL to reference',
  'same top token, %',
  'tokens in / out',
];
const reasonWidth = 100;

/** Breaks a text between words, into lines of about `width` characters. */
function wrap(text: string, width: number): string {
  const lines: string[] = [];
  for (const word of text.split(/\s+/)) {
    const line = lines.at(-1);
    if (line === undefined || line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines.join('\n');
}

function cells(row: BackendFigures | MissingBackend): (string | CellOptions)[] {
  if (!isMeasured(row)) {
    return [row.title, { content: pc.yellow(wrap(row.reason, reasonWidth)), colSpan: head.length - 1, hAlign: 'left' }];
  }
  const { title, time, memory, tokens, quality, plan } = row;
  const meanOf = ({ mean }: { mean: number }) => formatNumber(mean);
  return [
    plan.interleaved ? title : `${title} *`,
    formatFigure(time.tokensPerSecond),
    formatFigure(time.prefillTokensPerSecond),
    formatFigure(time.timeToFirstTokenMs),
    formatFigure(memory.peakMb),
    formatFigure(quality?.klDivergence),
    formatFigure(quality?.topTokenAgreement, 100),
    `${meanOf(tokens.input)} / ${meanOf(tokens.output)}`,
  ];
}

/** What the table cannot say: which rows are pairs, how far a comparison goes, and how large it was. */
function footnotes({ backends, settings }: BackendsResult): string[] {
  const measured = backends.filter(isMeasured);
  const lines: string[] = [];
  const first = measured.find(({ plan }) => plan.interleaved);
  for (const { title, decodeSpeedup } of measured) {
    if (decodeSpeedup && first) lines.push(`Decode of ${title} against ${first.title}: ${speedVerdict(decodeSpeedup)}`);
  }
  if (measured.some(({ plan }) => !plan.interleaved)) {
    lines.push(
      `* A request would take longer than ${formatNumber(settings.requestSeconds)} s: measured alone, on the first prompt, with fewer tokens.`,
    );
  }
  const compared = measured.flatMap(({ title, quality }) => (quality ? [{ title, n: quality.klDivergence.n }] : []));
  const counts = new Set(compared.map(({ n }) => n));
  if (counts.size === 1) lines.push(`Compared with the reference at ${compared[0]?.n} positions.`);
  if (counts.size > 1) {
    lines.push(`Positions compared with the reference: ${compared.map(({ title, n }) => `${title} ${n}`).join(', ')}.`);
  }
  return lines;
}

/** The result as text: a row per backend, in the order of the result. */
export function backendsReport(result: BackendsResult): string {
  const { model, settings, system, backends } = result;
  const table = new Table({
    head,
    colAligns: head.map((_, column) => (column === 0 ? 'left' : 'right')),
    style: { head: [], border: [], compact: true },
  });
  for (const row of backends) table.push(cells(row));
  const sparsity = settings.larosaSparsity === undefined ? '' : `, LaRoSA at ${settings.larosaSparsity}`;
  const title = `${model.name} (${model.architecture}, ${formatNumber(model.parameters / 1e6)} M parameters, ${model.quantization})${sparsity}`;
  const shape = `${settings.prompts} prompts, ${settings.runs} runs of each`;
  return [`${title}, ${shape}\n${systemLine(system)}`, table.toString(), footnotes(result).join('\n')]
    .join('\n\n')
    .trimEnd();
}
