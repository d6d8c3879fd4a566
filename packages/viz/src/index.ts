export { renderCharts, renderSweep } from './renderCharts.ts';
