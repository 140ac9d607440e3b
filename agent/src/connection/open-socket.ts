// Opens the WebSocket: TLS with the pinned CA, host name checked, through the proxy if there is one.
import { createSecureContext } from 'node:tls';
import { closeCodes, limits, subprotocol } from '@opsconductor/protocol';
import { type ClientOptions, WebSocket } from 'ws';
import { visible } from '../command-line/visible.ts';
import { errorCode } from '../identity/durable-file.ts';
import type { SocketEnd } from './message-socket.ts';
import { type ProxySettings, proxyAgent, proxyFor } from './proxy.ts';
import { ProxyRefusal } from './proxy-refusal.ts';

export interface SocketOptions {
  /** Base URL of the server, http(s). */
  server: string;
  ca: string | undefined;
  proxy: ProxySettings;
}

/** Returns a function that opens a socket at each call; what all sockets trust is read once. */
export function socketOpener({ server, ca, proxy }: SocketOptions): () => WebSocket {
  const url = new URL('/api/v1/agent/connect', server);
  const through = proxyFor(url, proxy);
  url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
  const options: ClientOptions = {
    perMessageDeflate: false,
    followRedirects: false,
    handshakeTimeout: 15_000,
    maxPayload: limits.maxControlFrameBytes,
    ...(ca === undefined ? {} : { secureContext: createSecureContext({ ca }) }),
  };
  return () =>
    new WebSocket(url, [subprotocol], {
      ...options,
      ...(through === undefined ? {} : { agent: proxyAgent(through) }),
    });
}

/** System errors if nobody is there, or if something in between has nobody to pass the connection on to. */
const unansweredCodes = new Set(['ECONNREFUSED', 'ECONNRESET', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT']);
/**
 * What a load balancer or a server that is about to start answers before there is a WebSocket, in the words of `ws`.
 */
const nobodyThere = /^Unexpected server response: 50[234]$/;

/** Whether one of our servers, or something that is taken for one, answered before the connection ended. */
export function wasAnswered({ opened, error }: Pick<SocketEnd, 'opened' | 'error'>): boolean {
  if (opened || error === undefined) return true;
  if (error instanceof ProxyRefusal) return error.status < 502 || error.status > 504;
  return !unansweredCodes.has(errorCode(error) ?? '') && !nobodyThere.test(error.message);
}

/** Tells a person what a close code means and what the agent does about it. */
export function explainClose(code: number, reason: string): string {
  const said = reason === '' ? '' : ` (${visible(reason)})`;
  switch (code) {
    case closeCodes.unauthenticated:
      if (reason === 'agent is revoked')
        return 'This agent was revoked on the server, which can’t be undone. If that was meant, stop it and remove its data directory. To make its machine an agent again, enroll it with a new token and "enroll --force". Trying again in a few minutes.';
      if (reason === 'agent is disabled')
        return 'This agent is disabled on the server. Enable it in the console; it keeps its keys and connects again within a few minutes.';
      return `The server does not accept this agent: it is disabled, revoked or unknown there, or the server's database was restored from a backup${said}. After a restore stop the servers, run "npm run restored" there and start them. Otherwise enable it in the console. Do not enroll this machine again ("enroll --force") before you have ruled out both: it gives up the segment's key, and with the last agent of a segment its credentials are lost. Trying again in a few minutes.`;
    case closeCodes.quarantined:
      return `The server has quarantined this agent: a copy of its data directory has connected since this one last did${said}. Find and stop the copy, then enroll this machine again with "enroll --force" and a new token.`;
    case closeCodes.noCommonVersion:
      return `The server speaks no protocol version that this agent knows${said}. Update the older of the two. Trying again in a few minutes.`;
    case closeCodes.invalidMessage:
      return `The server refused a message of this agent${said}. Update the older of the two if this repeats.`;
    case closeCodes.handshakeTimeout:
      return `The server ended the handshake: it took too long, or too many connections come from this address${said}.`;
    case closeCodes.replaced:
      return `This agent connected a second time and the newer connection won${said}. If this repeats, two processes use the same identity.`;
    case closeCodes.silent:
      return `The server heard no heartbeat in time${said}.`;
    case closeCodes.policyRead:
      return 'This agent reconnects to tell the server about the policy that it has read.';
    case closeCodes.serverRestart:
      return `The server restarts${said}.`;
    default:
      return `The connection was closed with code ${code}${said}.`;
  }
}
