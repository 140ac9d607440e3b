// Tests a target that speaks WinRM: connects, logs in, and asks for a shell and its PowerShell.
import type { AgentMessageOf } from '@opsconductor/protocol';
import { SshError } from '../ssh/ssh-error.ts';
import type { StepContext } from '../steps/step-type.ts';
import { type WinrmPolicy, winrmConnectionOptions } from '../steps/winrm/winrm-connection-options.ts';
import { reasons } from '../steps/winrm/winrm-exec-outcomes.ts';
import { testHost } from '../winrm/checks/test-host.ts';
import { withoutPool } from '../winrm/connection/pool.ts';
import { WinrmError } from '../winrm/winrm-error.ts';

export type TestResult = Omit<AgentMessageOf<'target_tested'>, 'type' | 'requestId'>;

/** Rejects with errors that are not the host's fault. */
export async function testWinrm(
  given: Pick<StepContext, 'target' | 'credential' | 'checkAddresses'>,
  policy: WinrmPolicy,
  signal: AbortSignal,
): Promise<TestResult> {
  const connections = withoutPool(winrmConnectionOptions(given, policy));
  const startedMs = performance.now();
  try {
    const { product, powershell } = await testHost(connections, signal);
    const serverVersion = `${product.slice(0, 200)}, PowerShell ${powershell}`;
    return { ok: true, serverVersion, latencyMs: performance.now() - startedMs };
  } catch (error) {
    if (!(error instanceof WinrmError)) throw error;
    const { kind, message, advice, cause } = error;
    if (cause instanceof SshError) throw cause;
    return {
      ok: false,
      reason: reasons[kind],
      message: message.slice(0, 2_000),
      advice: advice.slice(0, 2_000),
    };
  }
}
