// Connection settings in words: their names, where a value comes from, and what would apply without it.
import type {
  EffectiveSetting,
  EffectiveSettings,
  InheritedSettings,
  SettingName,
} from '@opsconductor/protocol';

const settingWords: Record<SettingName, string> = {
  protocol: 'Protocol',
  port: 'Port',
  username: 'User name',
  connect_timeout: 'Connect timeout',
  keepalive_interval: 'Keepalive',
  jump_hosts: 'Jump hosts',
  ssh_algorithms: 'Algorithms',
  max_connections: 'Connections',
  winrm_transport: 'Transport',
  winrm_authentication: 'Authentication',
  winrm_principal: 'Service principal',
  winrm_certificate_check: 'Certificate',
  winrm_ca: 'Certificate authorities',
  credential: 'Credential',
};
export function settingWord(name: SettingName): string {
  return settingWords[name];
}

/** `from group Web servers`; the target's own values and the built-in ones have no source to name. */
export function sourceWords(source: EffectiveSetting['source']): string {
  if (source.kind === 'default') return 'built in';
  if (source.kind === 'target') return 'its own';
  return `from ${source.kind} ${source.name}`;
}

/** What applies to a target without a value of its own: `30 s, from group Web servers`. */
export function inheritedOf({ settings }: EffectiveSettings, name: SettingName): string {
  const setting = settings.find((one) => one.name === name);
  if (setting === undefined) return 'inherited';
  const given = [setting, ...setting.overridden].find(({ source }) => source.kind !== 'target');
  return given === undefined ? 'none' : `${given.display}, ${sourceWords(given.source)}`;
}

/** The protocol by which a target is reached that names none itself. */
export function inheritedProtocolOf({ settings }: EffectiveSettings): string | undefined {
  return [settings.find(({ name }) => name === 'protocol')]
    .flatMap((setting) => (setting === undefined ? [] : [setting, ...setting.overridden]))
    .find(({ source }) => source.kind !== 'target')?.display;
}

/** The settings that a segment or group passes on, as name and value. */
export function givenSettings(settings: InheritedSettings): { name: string; value: string }[] {
  const seconds = (value: number | undefined) => (value === undefined ? undefined : `${value} s`);
  const all: [SettingName, string | undefined][] = [
    ['protocol', settings.protocol],
    ['port', settings.port?.toString()],
    ['username', settings.username],
    ['connect_timeout', seconds(settings.connect_timeout)],
    ['keepalive_interval', seconds(settings.keepalive_interval)],
    ['jump_hosts', settings.jump_hosts && (settings.jump_hosts.join(', then ') || 'none')],
    ['ssh_algorithms', settings.ssh_algorithms],
    ['max_connections', settings.max_connections?.toString()],
    ['winrm_transport', settings.winrm_transport],
    ['winrm_authentication', settings.winrm_authentication],
    ['winrm_principal', settings.winrm_principal],
    ['winrm_certificate_check', settings.winrm_certificate_check],
    ['winrm_ca', settings.winrm_ca === undefined ? undefined : 'given'],
  ];
  return all.flatMap(([name, value]) => (value === undefined ? [] : { name: settingWord(name), value }));
}
