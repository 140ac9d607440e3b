// Example definitions, for the published schema and the API's description. A test checks that they are valid.
import type { JobDefinition, StepTypeName } from '../api/jobs/jobs.ts';

/** As given in the specification. */
export const specificationExample = {
  name: 'System Maintenance Job',
  description: 'Performs routine system maintenance tasks',
  parameters: {
    maintenance_type: { type: 'string', default: 'basic', enum: ['basic', 'full', 'custom'] },
    reboot_required: { type: 'boolean', default: false },
  },
  steps: [
    {
      name: 'Check System Status',
      type: 'winrm.exec',
      config: {
        command: 'Get-ComputerInfo | Select-Object WindowsProductName, TotalPhysicalMemory',
        timeout: 30,
      },
    },
    {
      name: 'Update System',
      type: 'winrm.exec',
      config: {
        command: 'Install-WindowsUpdate -AcceptAll -AutoReboot:${{parameters.reboot_required}}',
        timeout: 1800,
      },
    },
  ],
} as const satisfies Readonly<Record<string, unknown>>;

const restart: JobDefinition = {
  name: 'Restart a service',
  description: 'Restarts one service, a tenth of the hosts at a time, and checks that it is back.',
  category: 'general',
  labels: { team: 'web' },
  timeout: 1800,
  parameters: {
    service: { type: 'string', title: 'Service', pattern: '^[a-z][a-z0-9@._-]*$', maxLength: 64 },
  },
  strategy: { batches: ['10%'], max_failures: 1 },
  steps: [
    {
      name: 'restart',
      type: 'ssh.exec',
      config: { command: 'systemctl restart -- "${{ parameters.service }}"', timeout: 60 },
    },
    {
      name: 'check',
      type: 'ssh.exec',
      retry: { attempts: 3, delay: 5 },
      config: { command: 'systemctl is-active -- "${{ parameters.service }}"', timeout: 10 },
    },
  ],
};

export const exampleJobs: readonly unknown[] = [restart, specificationExample];

export const exampleSteps: Readonly<Record<StepTypeName, readonly unknown[]>> = {
  'ssh.exec': [
    { command: 'uptime', timeout: 30 },
    {
      command: 'tar -czf "/backup/${{ target.name }}.tgz" .',
      working_directory: '/etc',
      environment: { LC_ALL: 'C' },
      expected_exit_codes: [0, 1],
    },
  ],
  reboot: [{ become: {} }, { command: 'systemctl reboot', become: { method: 'su' }, timeout: 1800 }],
  wait_for: [
    { port: 443, timeout: 600 },
    { command: 'systemctl is-active --quiet app', interval: 10 },
    { seconds: 60 },
  ],
  'ssh.copy': [{ local_path: '/srv/files/motd', remote_path: '/etc/motd', mode: '0644', become: {} }],
  'sftp.upload': [
    { file: '${{ target.name }}.conf', remote_path: '/etc/app/app.conf', verify: 'checksum' },
    {
      local_path: '/srv/files/app.tar',
      remote_path: '/opt/app/app.tar',
      create_directories: true,
      mode: '0644',
    },
    {
      local_path: '/srv/files/site',
      remote_path: '/var/www/${{ target.name }}',
      preserve_permissions: true,
      exclude: ['*.tmp', '/cache/'],
    },
  ],
  'sftp.download': [
    { remote_path: '/etc/app', artifact: true, exclude: ['*.key'] },
    {
      remote_path: '/var/log/app.log',
      local_path: '/srv/collected/${{ target.name }}.log',
      verify: 'checksum',
    },
  ],
  'sftp.sync': [
    {
      local_path: '/srv/files/site',
      remote_path: '/var/www/site',
      mode: 'mirror',
      delete: true,
      max_delete: 50,
      dry_run: true,
    },
  ],
  'winrm.exec': [{ command: 'Get-Service -Name Spooler', timeout: 30, working_directory: 'C:\\temp' }],
  'winrm.copy': [
    {
      local_path: '/srv/files/app',
      remote_path: 'C:\\Program Files\\${{ target.name }}',
      create_directories: true,
      exclude: ['*.tmp'],
    },
    {
      direction: 'pull',
      remote_path: 'C:\\logs\\*.log',
      local_path: '/srv/collected/${{ target.name }}/',
      create_directories: true,
    },
  ],
};
