/** Codes of the errors that @llmopt/schema and @llmopt/viz throw; their meaning is that of @llmopt/core's catalogue. */
export type ResultErrorCode = 'LLMOPT_RESULT_INVALID' | 'LLMOPT_WRITE_FAILED';

/** An error with a stable `code` to test for; the message says what was wrong and where. */
export class ResultError extends Error {
  readonly code: ResultErrorCode;

  constructor(code: ResultErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ResultError';
    this.code = code;
  }
}
