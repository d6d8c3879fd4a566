export { channelsAboveZero, channelsOp, withChannels } from './channelsOp.ts';
export {
  type CheckModelOptions,
  type CheckOptions,
  checkModel,
  checkOp,
  type Deviation,
} from './check.ts';
export { type ConformanceOptions, type ConformanceTest, conformanceTests } from './conformance.ts';
export { type CompileSizes, compile, forwardAlone, forwardPieces, type Piece } from './forward.ts';
export { type CaseBatch, type CaseInput, type CaseParam, type OpCase, type OpCaseSpec, opCase } from './opCase.ts';
export { type OpCasesOptions, opCases } from './opCases.ts';
export { type RandomModelSizes, randomGraph, randomModel } from './randomModel.ts';
