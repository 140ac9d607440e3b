// For tests: what a step on a WinRM host is executed with.
import type { WinrmFixture } from '../../winrm/testing/winrm-setup.ts';
import { winrmPassword, winrmUser } from '../../winrm/testing/winrm-setup.ts';
import type { OutputSink, StepContext } from '../step-type.ts';

export function winrmContext(
  fixture: WinrmFixture,
  given: { output: OutputSink; signal: AbortSignal } & Partial<StepContext>,
): StepContext {
  return {
    marker: 'installation.1.1',
    directoryName: 'installation.1.1.x',
    target: {
      id: 1,
      name: 'win-1',
      host: fixture.host,
      port: fixture.port('http'),
      hostKeys: [],
      winrm: { transport: 'http', authentication: 'ntlm', certificateCheck: 'verify' },
    },
    credential: { kind: 'winrm_password', id: '7', version: 1, user: winrmUser, password: winrmPassword },
    transfers: { progress: () => {}, report: () => {} },
    maySurvive: true,
    askServer: () => Promise.reject(new Error('There is no server')),
    beforeStart: async () => {},
    checkAddresses: () => {},
    ...given,
  };
}
