// Records refusals of signed-in callers in the audit log, but only as fast as a person could read, so that a caller who
// asks in a loop can't fill it.
import { RateLimiter, rateLimitKeyOf } from '../auth/limits/rate-limiter.ts';
import { AppError } from '../errors.ts';
import type { Queryable } from '../store/database/connection.ts';
import { recordAudit, userActor } from './record-audit.ts';

const perUser = { burst: 60, refillMs: 10_000 };
const perAddress = { burst: 30, refillMs: 60_000 };

export interface Refusal {
  principal: { userId: number; name: string; tokenName?: string };
  route: { method: string; path: string; permission: string };
  address: string;
  requestId: string;
}

/** Returns the function that the HTTP side calls for each refusal. */
export function refusalRecorder(deps: {
  sql: Queryable;
  now: () => Date;
}): (refusal: Refusal) => Promise<void> {
  const limiter = new RateLimiter(perUser, deps.now);
  return async ({ principal, route, address, requestId }) => {
    if (limiter.take(String(principal.userId)) > 0) return;
    await recordAudit(deps.sql, {
      actor: userActor(principal),
      action: 'request.refused',
      detail: { method: route.method, path: route.path, permission: route.permission },
      origin: { address, requestId },
    });
  };
}

/**
 * Returns the function that is called with the reason why an agent was not enrolled; it ignores errors that are not
 * refusals.
 */
export function enrollmentRefusalRecorder(deps: {
  sql: Queryable;
  now: () => Date;
}): (error: unknown, agentName: string, origin: { address: string; requestId: string }) => Promise<void> {
  const limiter = new RateLimiter(perAddress, deps.now);
  return async (error, agentName, origin) => {
    if (!(error instanceof AppError) || !['unauthenticated', 'conflict'].includes(error.code)) return;
    if (limiter.take(rateLimitKeyOf(origin.address)) > 0) return;
    await recordAudit(deps.sql, {
      actor: { kind: 'anonymous', name: agentName },
      action: 'agent.enrollment_refused',
      detail: { reason: error.message },
      origin,
    });
  };
}
