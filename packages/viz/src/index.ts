export { renderCharts } from './renderCharts.ts';
