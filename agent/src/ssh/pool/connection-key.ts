import { createHash } from 'node:crypto';
import type { OpenedCredential, StepTarget } from '../../steps/step-type.ts';

/**
 * Names the connections that a request may share: to the same host by the same way, logged in with the same version of
 * the same credential as the same user, and trusted for the same reasons.
 */
export function connectionKey(target: StepTarget, credential: OpenedCredential): string {
  const { hostAuthorities = [], revokedHostKeys = [], algorithms = 'current', jumps = [] } = target;
  const trust = [[...target.hostKeys].sort(), hostAuthorities, revokedHostKeys, algorithms];
  const way = jumps.map((jump) => connectionKey(jump.target, jump.credential));
  const held = createHash('sha256')
    .update(JSON.stringify([trust, way]))
    .digest('base64');
  const { id, version, user } = credential;
  return JSON.stringify([target.id, target.host, target.port, held, id, version, user]);
}
