export { balanceColumns, balanceLargest, balanceReach, balanceRows, balanceScales } from './balance';
export { packHead, packRecords, packTiles } from './packInt8';
