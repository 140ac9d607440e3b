import type { Me } from '@opsconductor/protocol';
import { apiPaths } from '../../paths.ts';
import { request } from '../client.ts';

export function exchangeCode(code: string): Promise<Me> {
  return request('POST', apiPaths.exchange(), { body: { code }, harmless: true, isOfSession: true });
}

export function signIn(name: string, password: string): Promise<Me> {
  return request('POST', apiPaths.signIn(), { body: { name, password }, harmless: true, isOfSession: true });
}

export function signOut(): Promise<void> {
  return request('POST', apiPaths.signOut(), { isOfSession: true });
}

export function fetchMe(): Promise<Me> {
  return request('GET', apiPaths.me(), { isOfSession: true });
}

export function setPassword(password: string, current: string | undefined): Promise<void> {
  return request('PUT', apiPaths.password(), {
    body: current === undefined ? { password } : { password, current },
  });
}
