// Connection settings as a person enters them; empty fields inherit.
import type {
  ConnectionProtocol,
  InheritedSettings,
  SshAlgorithmPolicy,
  WinrmAuthentication,
  WinrmCertificateCheck,
  WinrmTransport,
} from '@opsconductor/protocol';

export interface ConnectionDraft {
  protocol: ConnectionProtocol | '';
  username: string;
  /** `null` and `undefined` mean empty. */
  port: number | null | undefined;
  connect_timeout: number | null | undefined;
  keepalive_interval: number | null | undefined;
  /** Comma-separated names, or `noJumpHosts`. */
  jump_hosts: string;
  ssh_algorithms: SshAlgorithmPolicy | '';
  max_connections: number | null | undefined;
  winrm_transport: WinrmTransport | '';
  winrm_authentication: WinrmAuthentication | '';
  winrm_principal: string;
  winrm_certificate_check: WinrmCertificateCheck | '';
  winrm_ca: string;
}

/** Entered instead of names: use none, even if some would be inherited. No target can have this name. */
const noJumpHosts = '-';

export function connectionDraft(settings: InheritedSettings): ConnectionDraft {
  return {
    protocol: settings.protocol ?? '',
    username: settings.username ?? '',
    port: settings.port ?? null,
    connect_timeout: settings.connect_timeout ?? null,
    keepalive_interval: settings.keepalive_interval ?? null,
    jump_hosts: settings.jump_hosts?.length === 0 ? noJumpHosts : (settings.jump_hosts?.join(', ') ?? ''),
    ssh_algorithms: settings.ssh_algorithms ?? '',
    max_connections: settings.max_connections ?? null,
    winrm_transport: settings.winrm_transport ?? '',
    winrm_authentication: settings.winrm_authentication ?? '',
    winrm_principal: settings.winrm_principal ?? '',
    winrm_certificate_check: settings.winrm_certificate_check ?? '',
    winrm_ca: settings.winrm_ca ?? '',
  };
}

/** Returns the settings that were entered, leaving out the empty fields. */
export function settingsOf(draft: ConnectionDraft): InheritedSettings {
  const username = draft.username.trim();
  const principal = draft.winrm_principal.trim();
  const ca = draft.winrm_ca.trim();
  return {
    ...(draft.protocol === '' ? {} : { protocol: draft.protocol }),
    ...(username === '' ? {} : { username }),
    ...numberOf('port', draft.port),
    ...numberOf('connect_timeout', draft.connect_timeout),
    ...numberOf('keepalive_interval', draft.keepalive_interval),
    ...jumpHostsOf(draft.jump_hosts),
    ...(draft.ssh_algorithms === '' ? {} : { ssh_algorithms: draft.ssh_algorithms }),
    ...numberOf('max_connections', draft.max_connections),
    ...(draft.winrm_transport === '' ? {} : { winrm_transport: draft.winrm_transport }),
    ...(draft.winrm_authentication === '' ? {} : { winrm_authentication: draft.winrm_authentication }),
    ...(principal === '' ? {} : { winrm_principal: principal }),
    ...(draft.winrm_certificate_check === ''
      ? {}
      : { winrm_certificate_check: draft.winrm_certificate_check }),
    ...(ca === '' ? {} : { winrm_ca: `${ca}\n` }),
  };
}

/** Returns whether the target is reached by WinRM. */
export function isWinrm({ protocol }: ConnectionDraft, inherited: string | undefined): boolean {
  return (protocol === '' ? inherited : protocol) === 'winrm';
}

/** Returns whether the form should show the WinRM settings: WinRM applies, or one of them is set. */
export function isAboutWinrm(draft: ConnectionDraft, inherited: string | undefined): boolean {
  const { winrm_transport, winrm_authentication, winrm_principal, winrm_certificate_check, winrm_ca } = draft;
  const isGiven = [
    winrm_transport,
    winrm_authentication,
    winrm_principal,
    winrm_certificate_check,
    winrm_ca,
  ].some(Boolean);
  return isGiven || isWinrm(draft, inherited);
}

function jumpHostsOf(text: string): Pick<InheritedSettings, 'jump_hosts'> {
  if (text.trim() === '') return {};
  if (text.trim() === noJumpHosts) return { jump_hosts: [] };
  return {
    jump_hosts: text
      .split(',')
      .map((name) => name.trim())
      .filter(Boolean),
  };
}

function numberOf<Name extends string>(name: Name, value: number | null | undefined) {
  return (value === null || value === undefined ? {} : { [name]: value }) as { [key in Name]?: number };
}
