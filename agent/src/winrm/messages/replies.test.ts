// Replies in the forms that Windows is known to send: written here from what others have recorded, not copied.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { WinrmError } from '../winrm-error.ts';
import { commandIdOf, readReply, receivedOf, shellIdOf } from './replies.ts';

const shellNames = 'http://schemas.microsoft.com/wbem/wsman/1/windows/shell';

/** As Windows Server 2012 and later write it: long prefixes for rarely used namespaces, an action and a relation. */
const windows = (body: string) =>
  `<s:Envelope xml:lang="en-US" xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:x="http://schemas.xmlsoap.org/ws/2004/09/transfer" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:rsp="${shellNames}" xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"><s:Header><a:Action>urn:x</a:Action><a:MessageID>uuid:11111111-1111-1111-1111-111111111111</a:MessageID><p:OperationID s:mustUnderstand="false">uuid:2</p:OperationID><p:SequenceId>1</p:SequenceId><a:To>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:To></s:Header><s:Body>${body}</s:Body></s:Envelope>`;
const read = (body: string) => readReply(windows(body));

function errorOf(attempt: () => unknown): WinrmError {
  try {
    attempt();
  } catch (error) {
    if (error instanceof WinrmError) return error;
    throw error;
  }
  throw new Error('it went well');
}

const selector = '<w:SelectorSet><w:Selector Name="ShellId">7E2C9A10</w:Selector></w:SelectorSet>';
const created = `<x:ResourceCreated><a:Address>http://win-1:5985/wsman</a:Address><a:ReferenceParameters><w:ResourceURI>${shellNames}/cmd</w:ResourceURI>${selector}</a:ReferenceParameters></x:ResourceCreated>`;

test.each([
  [
    'a shell as reported by 2012 R2 and later',
    `${created}<rsp:Shell><rsp:ShellId>7E2C9A10</rsp:ShellId><rsp:ResourceUri>${shellNames}/cmd</rsp:ResourceUri><rsp:Owner>WIN-1\\ann</rsp:Owner><rsp:ClientIP>192.0.2.7</rsp:ClientIP><rsp:IdleTimeOut>PT7200.000S</rsp:IdleTimeOut><rsp:InputStreams>stdin</rsp:InputStreams><rsp:OutputStreams>stdout stderr</rsp:OutputStreams></rsp:Shell>`,
  ],
  ['a shell as reported by 2008 R2', created],
])('the id of %s is read', (_, body) => {
  expect(shellIdOf(read(body))).toBe('7E2C9A10');
});

test('a shell or a command without a name is an error of the protocol', () => {
  expect(errorOf(() => shellIdOf(read('<rsp:Shell/>'))).kind).toBe('protocol');
  expect(errorOf(() => commandIdOf(read('<rsp:CommandResponse/>'))).kind).toBe('protocol');
  expect(
    errorOf(() => shellIdOf(read(`<rsp:Shell><rsp:ShellId>${'x'.repeat(300)}</rsp:ShellId></rsp:Shell>`)))
      .kind,
  ).toBe('protocol');
});

const stream = (name: string, text: string, more = '') =>
  `<rsp:Stream Name="${name}" CommandId="C"${more}>${Buffer.from(text).toString('base64')}</rsp:Stream>`;
const state = (name: string, inner = '') =>
  `<rsp:CommandState CommandId="C" State="${shellNames}/CommandState/${name}">${inner}</rsp:CommandState>`;
const received = (inner: string) => {
  const { output, isDone, exitCode } = receivedOf(
    read(`<rsp:ReceiveResponse>${inner}</rsp:ReceiveResponse>`),
  );
  return { output: output.map(({ stream: of, bytes }) => `${of}:${bytes}`), isDone, exitCode };
};

test.each([
  ['nothing yet', '', [], false, undefined],
  ['output while it runs', stream('stdout', 'a') + state('Running'), ['stdout:a'], false, undefined],
  ['a state that is pending', state('Pending'), [], false, undefined],
  [
    'both streams, each more than once',
    stream('stdout', 'a') + stream('stderr', 'b') + stream('stdout', 'c') + state('Running'),
    ['stdout:a', 'stderr:b', 'stdout:c'],
    false,
    undefined,
  ],
  [
    'the end, with streams that are closed and empty',
    `${stream('stdout', 'last')}${stream('stdout', '', ' End="TRUE"')}<rsp:Stream Name="stderr" CommandId="C" End="true" xsi:nil="true" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"/>${state('Done', '<rsp:ExitCode>0</rsp:ExitCode>')}`,
    ['stdout:last'],
    true,
    0,
  ],
  ['-1', state('Done', '<rsp:ExitCode>4294967295</rsp:ExitCode>'), [], true, -1],
  ['an access violation', state('Done', '<rsp:ExitCode>3221225477</rsp:ExitCode>'), [], true, -1_073_741_819],
  ['the end without an exit code', state('Done'), [], true, undefined],
  [
    'an exit code before the end, which does not count',
    state('Running', '<rsp:ExitCode>5</rsp:ExitCode>'),
    [],
    false,
    undefined,
  ],
  ['a stream of another kind', stream('pr', 'x') + state('Running'), [], false, undefined],
  [
    'base64 in lines',
    `<rsp:Stream Name="stdout" CommandId="C">aGVs\r\n  bG8=\n</rsp:Stream>${state('Running')}`,
    ['stdout:hello'],
    false,
    undefined,
  ],
] as const)('%s is received from a command', (_, inner, output, isDone, exitCode) => {
  expect(received(inner)).toEqual({ output, isDone, exitCode });
});

test('an exit code that is not a number is an error of the protocol', () => {
  expect(errorOf(() => received(state('Done', '<rsp:ExitCode>many</rsp:ExitCode>'))).kind).toBe('protocol');
});

const fault = (
  subcode: string,
  code: string,
  message: string,
  detail = `<f:Message>${message}</f:Message>`,
) =>
  `<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>${subcode}</s:Value></s:Subcode></s:Code><s:Reason><s:Text xml:lang="en-US">${message}  </s:Text></s:Reason><s:Detail><f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="${code}" Machine="win-1">${detail}</f:WSManFault></s:Detail></s:Fault>`;

test.each([
  [
    'a poll without news',
    fault('w:TimedOut', '2150858793', 'The operation was not completed in time.'),
    'poll_again',
    2150858793,
  ],
  [
    'a shell that is not found',
    fault('w:InvalidSelectors', '2150858843', 'The shell was not found.'),
    'shell_gone',
    2150858843,
  ],
  [
    'a registry that was unloaded',
    fault('w:InternalError', '2147943418', 'Illegal operation on a registry key.'),
    'shell_gone',
    2147943418,
  ],
  [
    'an operation that was aborted',
    fault('w:InternalError', '995', 'The I/O operation has been aborted.'),
    'shell_gone',
    995,
  ],
  ['too many shells', fault('w:QuotaLimit', '2150859171', 'Too many shells.'), 'quota', 2150859171],
  ['denied, by its number', fault('w:AccessDenied', '5', 'Access is denied.'), 'not_authorized', 5],
  [
    'denied, as HRESULT',
    fault('w:InternalError', '2147942405', 'Access is denied.'),
    'not_authorized',
    2147942405,
  ],
  [
    'a message that does not fit the schema',
    fault('w:SchemaValidationError', '2150858817', 'No.'),
    'fault',
    2150858817,
  ],
  [
    'what a provider said, within',
    fault(
      'w:InternalError',
      '2147942402',
      'The system cannot find the file specified.',
      '<f:Message><f:ProviderFault provider="Shell cmd plugin" path="%systemroot%\\system32\\winrscmd.dll">The system cannot find the file specified. </f:ProviderFault></f:Message>',
    ),
    'fault',
    2147942402,
  ],
  [
    'the quota of operations, as WMI puts it',
    '<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>w:InternalError</s:Value></s:Subcode></s:Code><s:Reason><s:Text xml:lang="en-US"/></s:Reason><s:Detail><p:MSFT_WmiError b:IsCIM_Error="true" xmlns:b="http://schemas.dmtf.org/wbem/wsman/1/cimbinding.xsd" xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wmi/root/microsoft/windows/management/MSFT_WmiError" xmlns:cim="http://schemas.dmtf.org/wbem/wscim/1/common" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="p:MSFT_WmiError_Type"><p:CIMStatusCode xsi:type="cim:cimUnsignedInt">27</p:CIMStatusCode><p:error_Category xsi:type="cim:cimUnsignedInt">30</p:error_Category><p:error_Code xsi:type="cim:cimUnsignedInt">2150859174</p:error_Code><p:error_Type xsi:type="cim:cimString">HRESULT</p:error_Type><p:error_WindowsErrorMessage xsi:type="cim:cimString">This user has exceeded the maximum number of concurrent operations.</p:error_WindowsErrorMessage></p:MSFT_WmiError></s:Detail></s:Fault>',
    'quota',
    2150859174,
  ],
] as const)('%s is reported as %s', (_, body, kind, code) => {
  const error = errorOf(() => read(body));
  expect(error).toMatchObject({ kind, code });
  expect(error.advice).not.toBe('');
  expect(error.message).not.toContain('gave no reason');
});

test('a fault without code, reason or detail is reported anyway', () => {
  const error = errorOf(() => read('<s:Fault/>'));
  expect(error).toMatchObject({ kind: 'fault', code: undefined });
  expect(error.message).toContain('it gave no reason');
});

test('a long reason is shortened', () => {
  expect(errorOf(() => read(fault('w:InternalError', '1', 'x'.repeat(50_000)))).message.length).toBeLessThan(
    1_200,
  );
});

test.each([
  ['a page', '<html><body>Sign in</body></html>'],
  [
    'an envelope of SOAP 1.1',
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body/></s:Envelope>',
  ],
  [
    'an envelope without a body',
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/></s:Envelope>',
  ],
  ['nothing', ''],
])('%s is not a reply', (_, text) => {
  expect(errorOf(() => readReply(text)).kind).toBe('protocol');
});

test('whatever a host puts into a reply, the reply is read or refused', () => {
  const piece = fc.constantFrom(
    created,
    stream('stdout', 'x'),
    state('Done'),
    '<s:Fault>',
    '</s:Fault>',
    '<a:x/>',
    '&lt;',
    '&bad;',
    fault('w:x', '1', 'y'),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
      try {
        const body = read(pieces.join(''));
        shellIdOf(body);
      } catch (error) {
        expect(error).toBeInstanceOf(WinrmError);
      }
    }),
  );
});
