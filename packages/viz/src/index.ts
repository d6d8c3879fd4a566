export { renderCharts, renderServe, renderSweep } from './renderCharts.ts';
