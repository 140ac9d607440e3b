// Reads a host's replies. They come from the host and may contain anything.
import { protocolError } from '../winrm-error.ts';
import { faultOf } from './faults.ts';
import { commandDone, namespaces } from './namespaces.ts';
import { allOf, childOf, childrenOf, parseXml, type XmlElement, XmlError } from './xml.ts';

/**
 * Returns the body of a reply that is not a fault.
 *
 * @throws {WinrmError} for a fault, and for anything that is not a reply.
 */
export function readReply(text: string): XmlElement {
  const body = bodyOf(text);
  const fault = childOf(body, namespaces.soap, 'Fault');
  if (fault !== undefined) throw faultOf(fault);
  return body;
}

function bodyOf(text: string): XmlElement {
  let document: XmlElement;
  try {
    document = parseXml(text);
  } catch (error) {
    if (error instanceof XmlError) throw protocolError(`its reply is not XML (${error.message})`, error);
    throw error;
  }
  const body = childOf(document, namespaces.soap, 'Body');
  if (document.name !== 'Envelope' || document.namespace !== namespaces.soap || body === undefined) {
    throw protocolError('its reply is not a SOAP envelope');
  }
  return body;
}

/** Hosts name the shell in one of two places. */
export function shellIdOf(body: XmlElement): string {
  const shell = childOf(childOf(body, namespaces.shell, 'Shell'), namespaces.shell, 'ShellId')?.text.trim();
  if (shell) return bounded(shell);
  for (const { name, namespace, attributes, text } of allOf(body)) {
    if (name === 'Selector' && namespace === namespaces.wsman && attributes.get('Name') === 'ShellId') {
      return bounded(text.trim());
    }
  }
  throw protocolError('it made a shell and did not name it');
}

/**
 * Returns the id of the command that was begun.
 * @throws if the answer names none
 */
export function commandIdOf(body: XmlElement): string {
  const response = childOf(body, namespaces.shell, 'CommandResponse');
  const id = childOf(response, namespaces.shell, 'CommandId')?.text.trim();
  if (!id) throw protocolError('it began a command and did not name it');
  return bounded(id);
}

function bounded(id: string): string {
  if (id === '' || id.length > 256) throw protocolError('a name in its reply is empty or too long');
  return id;
}

export interface Received {
  output: { stream: 'stdout' | 'stderr'; bytes: Buffer }[];
  isDone: boolean;
  /** Signed, as Windows programs report it; undefined if the host did not say. */
  exitCode: number | undefined;
}

/**
 * Returns the output in an answer, and whether the command has ended.
 * @throws if it is no answer to `Receive`
 */
export function receivedOf(body: XmlElement): Received {
  const response = childOf(body, namespaces.shell, 'ReceiveResponse');
  if (response === undefined) throw protocolError('it was asked for output and answered something else');
  const output: Received['output'] = [];
  for (const { attributes, text } of childrenOf(response, namespaces.shell, 'Stream')) {
    const stream = attributes.get('Name');
    if (stream !== 'stdout' && stream !== 'stderr') continue;
    const bytes = Buffer.from(text, 'base64');
    if (bytes.length > 0) output.push({ stream, bytes });
  }
  const state = childOf(response, namespaces.shell, 'CommandState');
  const isDone = state?.attributes.get('State') === commandDone;
  const code = childOf(state, namespaces.shell, 'ExitCode')?.text.trim();
  return { output, isDone, exitCode: isDone ? exitCodeOf(code) : undefined };
}

function exitCodeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^-?\d{1,10}$/.test(text)) throw protocolError('the exit code in its reply is not a number');
  // -1 arrives as 4294967295.
  return Number(text) | 0;
}
