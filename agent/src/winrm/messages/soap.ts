// The requests of a shell as SOAP (MS-WSMV 3.1.4), each with its own message id. Pure: no sockets here.
import { randomUUID } from 'node:crypto';
import { WinrmError } from '../winrm-error.ts';
import { actions, cmdShell, namespaces } from './namespaces.ts';
import { escapeXml, unwritable } from './xml.ts';

export interface Addressing {
  /** Where it is sent: the URL of the listener. */
  to: string;
  /** The largest reply that is asked for, in bytes. */
  maxEnvelopeBytes: number;
  /** After this many seconds the host replies in any case. */
  operationTimeoutS: number;
}

interface Request {
  action: string;
  /** A shell by default. */
  resource?: string;
  body: string;
  shellId?: string;
  options?: Record<string, string>;
}

export interface ShellSettings {
  environment: Readonly<Record<string, string>>;
  workingDirectory: string | undefined;
  /** Seconds without a word from the client after which the host removes the shell. */
  idleTimeoutS: number;
}

export interface CommandLine {
  command: string;
  arguments: readonly string[];
}

export function createMessage(
  addressing: Addressing,
  settings: ShellSettings,
  { withProfile }: { withProfile: boolean },
): string {
  const { environment, workingDirectory, idleTimeoutS } = settings;
  const variables = Object.entries(environment)
    .map(
      ([name, value]) =>
        `<rsp:Variable Name="${written(name, 'environment')}">${written(value, `environment.${name}`)}</rsp:Variable>`,
    )
    .join('');
  const body = [
    '<rsp:Shell>',
    variables === '' ? '' : `<rsp:Environment>${variables}</rsp:Environment>`,
    workingDirectory === undefined
      ? ''
      : `<rsp:WorkingDirectory>${written(workingDirectory, 'working_directory')}</rsp:WorkingDirectory>`,
    `<rsp:IdleTimeOut>PT${idleTimeoutS}S</rsp:IdleTimeOut>`,
    '<rsp:InputStreams>stdin</rsp:InputStreams>',
    '<rsp:OutputStreams>stdout stderr</rsp:OutputStreams>',
    '</rsp:Shell>',
  ].join('');
  // 65001 is UTF-8, whatever the host's own code page is.
  return envelope(addressing, {
    action: actions.create,
    body,
    options: { WINRS_NOPROFILE: withProfile ? 'FALSE' : 'TRUE', WINRS_CODEPAGE: '65001' },
  });
}

export function commandMessage(addressing: Addressing, shellId: string, line: CommandLine): string {
  const parts = line.arguments.map((each) => `<rsp:Arguments>${written(each, 'arguments')}</rsp:Arguments>`);
  const command = `<rsp:Command>${written(line.command, 'command')}</rsp:Command>`;
  return envelope(addressing, {
    action: actions.command,
    shellId,
    body: `<rsp:CommandLine>${command}${parts.join('')}</rsp:CommandLine>`,
    // TRUE would be a console that somebody types at: its input has no end, and none of its lines ends with LF.
    options: { WINRS_CONSOLEMODE_STDIN: 'FALSE', WINRS_SKIP_CMD_SHELL: 'FALSE' },
  });
}

export function receiveMessage(addressing: Addressing, shellId: string, commandId: string): string {
  return envelope(addressing, {
    action: actions.receive,
    shellId,
    body: `<rsp:Receive><rsp:DesiredStream CommandId="${escapeXml(commandId)}">stdout stderr</rsp:DesiredStream></rsp:Receive>`,
  });
}

export function sendMessage(
  addressing: Addressing,
  shellId: string,
  commandId: string,
  input: { bytes: Buffer; isLast: boolean },
): string {
  const end = input.isLast ? ' End="true"' : '';
  const content = input.bytes.toString('base64');
  return envelope(addressing, {
    action: actions.send,
    shellId,
    body: `<rsp:Send><rsp:Stream Name="stdin" CommandId="${escapeXml(commandId)}"${end}>${content}</rsp:Stream></rsp:Send>`,
  });
}

export function signalMessage(
  addressing: Addressing,
  shellId: string,
  commandId: string,
  signal: string,
): string {
  return envelope(addressing, {
    action: actions.signal,
    shellId,
    body: `<rsp:Signal CommandId="${escapeXml(commandId)}"><rsp:Code>${escapeXml(signal)}</rsp:Code></rsp:Signal>`,
  });
}

export function deleteMessage(addressing: Addressing, shellId: string): string {
  return envelope(addressing, { action: actions.delete, shellId, body: '' });
}

/** Asks how WinRM is configured; only administrators get an answer. */
export function configurationMessage(addressing: Addressing): string {
  return envelope(addressing, { action: actions.get, resource: namespaces.config, body: '' });
}

/** Asks what the host is; needs no shell. */
export function identifyMessage(): string {
  return (
    `<s:Envelope xmlns:s="${namespaces.soap}" xmlns:i="${namespaces.identity}">` +
    '<s:Header/><s:Body><i:Identify/></s:Body></s:Envelope>'
  );
}

function envelope(addressing: Addressing, request: Request): string {
  const { action, resource = cmdShell, body, shellId, options } = request;
  const { to, maxEnvelopeBytes, operationTimeoutS } = addressing;
  const selectors =
    shellId === undefined
      ? ''
      : `<w:SelectorSet><w:Selector Name="ShellId">${escapeXml(shellId)}</w:Selector></w:SelectorSet>`;
  const set = Object.entries(options ?? {})
    .map(([name, value]) => `<w:Option Name="${name}">${value}</w:Option>`)
    .join('');
  return [
    `<s:Envelope xmlns:s="${namespaces.soap}" xmlns:a="${namespaces.addressing}" xmlns:w="${namespaces.wsman}"`,
    ` xmlns:p="${namespaces.microsoft}" xmlns:rsp="${namespaces.shell}"><s:Header>`,
    `<a:To>${escapeXml(to)}</a:To>`,
    `<a:ReplyTo><a:Address s:mustUnderstand="true">${namespaces.addressing}/role/anonymous</a:Address></a:ReplyTo>`,
    `<w:MaxEnvelopeSize s:mustUnderstand="true">${maxEnvelopeBytes}</w:MaxEnvelopeSize>`,
    `<a:MessageID>uuid:${randomUUID().toUpperCase()}</a:MessageID>`,
    '<w:Locale s:mustUnderstand="false" xml:lang="en-US"/><p:DataLocale s:mustUnderstand="false" xml:lang="en-US"/>',
    `<w:OperationTimeout>PT${operationTimeoutS}S</w:OperationTimeout>`,
    `<w:ResourceURI s:mustUnderstand="true">${resource}</w:ResourceURI>`,
    `<a:Action s:mustUnderstand="true">${action}</a:Action>`,
    selectors,
    set === '' ? '' : `<w:OptionSet>${set}</w:OptionSet>`,
    `</s:Header><s:Body>${body}</s:Body></s:Envelope>`,
  ].join('');
}

function written(text: string, field: string): string {
  const found = unwritable(text);
  if (found === undefined) return escapeXml(text);
  const code = found.charCodeAt(0).toString(16).padStart(4, '0').toUpperCase();
  throw new WinrmError({
    kind: 'invalid',
    message: `${field.slice(0, 200)} holds the character U+${code}, which WinRM can not carry.`,
    advice: `Remove the character from ${field.slice(0, 200)}.`,
    notExecuted: true,
  });
}
