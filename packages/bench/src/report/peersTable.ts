import type { BenchmarkResult, Peer } from '@llmopt/schema';
import Table from 'cli-table3';
import { formatFigure, formatNumber } from './format.ts';
import { speedVerdict } from './verdict.ts';

/** The first line of a failure; the rest is in the result. */
const shorten = (failure: string) => failure.split('\n')[0] as string;

function comparisonTable(peers: readonly Peer[], comparison: BenchmarkResult['comparison']): string {
  const table = new Table({
    head: ['other engines', ...peers.flatMap(({ name }) => [name, 'baseline against it'])],
    colAligns: ['left', ...peers.flatMap(() => ['right', 'left'] as const)],
    style: { head: [], border: [], compact: true },
  });
  const against = (peer: Peer) => comparison?.peers?.find(({ name }) => name === peer.name);
  const add = (label: string, cells: (peer: Peer) => [figure: string, verdict?: string]) =>
    table.push([label, ...peers.flatMap((peer) => [cells(peer)[0], cells(peer)[1] ?? ''])]);
  add('decode, tokens per second', (peer) => [
    formatFigure(peer.time.tokensPerSecond),
    speedVerdict(against(peer)?.decodeSpeedup),
  ]);
  add('whole request, seconds', (peer) => [
    formatFigure(peer.time.totalSeconds),
    speedVerdict(against(peer)?.endToEndSpeedup),
  ]);
  add('time to first token, ms', (peer) => [
    formatFigure(peer.time.timeToFirstTokenMs),
    speedVerdict(against(peer)?.timeToFirstTokenSpeedup),
  ]);
  add('prefill, tokens per second', (peer) => [
    formatFigure(peer.time.prefillTokensPerSecond),
    speedVerdict(against(peer)?.prefillSpeedup),
  ]);
  add('load, seconds', (peer) => [formatFigure(peer.time.loadSeconds)]);
  add('peak memory, MB', (peer) => [formatFigure(peer.memory.peakMb)]);
  add('setting', (peer) => [peer.settings.name]);
  return table.toString();
}

function settingsTable(peers: readonly Peer[]): string {
  const table = new Table({
    head: ['settings tried', 'setting', 'decode, tokens/s', 'prefill, tokens/s', ''],
    colAligns: ['left', 'left', 'right', 'right', 'left'],
    style: { head: [], border: [], compact: true },
  });
  for (const peer of peers) {
    for (const { name, decodeTokensPerSecond, prefillTokensPerSecond, failure } of peer.settingsTried) {
      const speeds = [decodeTokensPerSecond, prefillTokensPerSecond];
      const cells = speeds.map((speed) => (speed === undefined ? '' : formatNumber(speed)));
      const best = [
        ...(peer.best.decode.name === name ? ['fastest decode'] : []),
        ...(peer.best.prefill.name === name ? ['fastest prefill'] : []),
      ];
      table.push([peer.name, name, ...cells, failure === undefined ? best.join(', ') : shorten(failure)]);
    }
  }
  return table.toString();
}

/** Other engines as text: how the baseline compares, which settings were tried, and who could not take part. */
export function peersReport({ peers = [], skippedPeers = [], comparison }: BenchmarkResult): string[] {
  return [
    ...(peers.length > 0 ? [comparisonTable(peers, comparison), settingsTable(peers)] : []),
    ...skippedPeers.map(({ name, reason }) => `${name}: ${reason}.`),
  ];
}
