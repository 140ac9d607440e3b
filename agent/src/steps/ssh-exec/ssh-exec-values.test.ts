// Hostile values on their real path: rendered, sent through a real sshd on stdin, and run by the target's shell.
import { renderStep, type SshExecConfig } from '@opsconductor/protocol';
import { expect } from 'vitest';
// biome-ignore lint/style/noRestrictedImports: only tests use what test/ provides
import { hostileStrings } from '../../../../test/support/hostile-strings.ts';
import { sshTest } from '../../ssh/sshd-setup.ts';
import { setupExec } from './ssh-exec-setup.ts';

const values = hostileStrings(200, 3);
const names = values.map((_, at) => `v${at}`);
const parameter = { type: 'string', allow_leading_dash: true } as const;

for (const survive_agent_restart of [false, true]) {
  sshTest(
    `values reach a target’s shell byte for byte and run nothing, surviving: ${survive_agent_restart}`,
    async () => {
      const t = await setupExec();
      const config = {
        command: names
          .map((name) => `printf '%s\\0' \${{ parameters.${name} }} "<\${{ parameters.${name} }}>"`)
          .join('\n'),
        survive_agent_restart,
      };
      const scope = {
        path: '',
        parameters: Object.fromEntries(names.map((name) => [name, parameter])),
        steps: {},
      };
      const { rendered } = renderStep({ type: 'ssh.exec', config }, scope, {
        parameters: Object.fromEntries(values.map((value, at) => [`v${at}`, value])),
        target: { name: 'web-1', host: 'web-1', port: 22, segment: 'dmz', labels: {} },
        run: { id: 1, created_at: '2026-11-26T00:00:00Z', created_by: 'ann' },
        job: { id: 1, name: 'job', version: 1 },
        steps: {},
      });
      const outcome = await t.run(rendered?.config as SshExecConfig, { bindings: rendered?.bindings ?? [] });
      expect(outcome).toMatchObject({ status: 'succeeded' });
      expect(t.sink.stdout).toBe(values.map((value) => `${value}\0<${value}>\0`).join(''));
      t.sink.parts.length = 0;
      await t.run({ command: 'ls -d canary* 2>/dev/null; true' });
      expect(t.sink.stdout).toBe('');
    },
  );
}
