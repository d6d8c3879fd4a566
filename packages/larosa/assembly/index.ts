export { sparsify } from './sparsify';
