import type { OpenRequest } from './pool.ts';

type Login = Pick<OpenRequest, 'target' | 'credential' | 'checkAddresses'>;

/** Returns the request for a channel to what has this target and credential: an attempt, or the way to one. */
export function requestFor(of: Login): Login {
  const { target, credential } = of;
  return { target, credential, checkAddresses: (found) => of.checkAddresses(found) };
}
