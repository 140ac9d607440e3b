// Errors of a definition have paths that begin at the definition, even if the body wraps it in an envelope
// (`{definition: …, note: …}`). This file finds their position in a YAML body in both cases.
import type { ErrorDetail } from '@opsconductor/protocol';
import { AppError } from '../../../errors.ts';
import type { RouteRequest } from '../../route.ts';

type Located = Pick<RouteRequest<unknown, unknown, unknown>, 'body' | 'locate'>;

/** Adds line and column to the details, if the body was YAML. */
export function placesInDefinition<D extends ErrorDetail>(
  { body, locate }: Located,
  details: readonly D[],
): D[] {
  const envelope = Object(body) as Record<string, unknown>;
  const isEnvelope = Object.hasOwn(envelope, 'definition') && !Object.hasOwn(envelope, 'steps');
  return details.map((detail) => {
    const [first = ''] = detail.path.split(/[.[]/, 1);
    const isBeside = first !== '' && first !== 'definition' && Object.hasOwn(envelope, first);
    const path = isEnvelope && !isBeside ? joined('definition', detail.path) : detail.path;
    const [{ line, column } = {}] = locate([{ path, message: '' }]);
    return line === undefined || column === undefined ? detail : { ...detail, line, column };
  });
}

/** Runs a save of a definition, and adds to its errors their position in the body. */
export async function withPlaces<T>(request: Located, save: () => Promise<T>): Promise<T> {
  try {
    return await save();
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== 'invalid') throw error;
    throw new AppError('invalid', error.message, {
      cause: error,
      details: placesInDefinition(request, error.details),
    });
  }
}

function joined(root: string, path: string): string {
  return path === '' || path.startsWith('[') ? `${root}${path}` : `${root}.${path}`;
}
