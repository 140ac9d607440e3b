// Refusals whose HTTP status says more than their error code does.
import type { ErrorCode } from '@opsconductor/protocol';
import { AppError } from '../../errors.ts';

export class RefusedRequest extends AppError {
  readonly status: 405 | 415 | 421;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: 405 | 415 | 421,
    code: ErrorCode,
    publicMessage: string,
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(code, publicMessage);
    this.status = status;
    this.headers = headers;
  }
}
