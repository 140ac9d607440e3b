// Connection settings as a person enters them; what is left empty is inherited.
import type {
  ConnectionProtocol,
  InheritedSettings,
  WinrmAuthentication,
  WinrmCertificateCheck,
  WinrmTransport,
} from '@opsconductor/protocol';

export interface ConnectionDraft {
  protocol: ConnectionProtocol | '';
  username: string;
  /** Null and undefined: empty. */
  port: number | null | undefined;
  connect_timeout: number | null | undefined;
  keepalive_interval: number | null | undefined;
  winrm_transport: WinrmTransport | '';
  winrm_authentication: WinrmAuthentication | '';
  winrm_principal: string;
  winrm_certificate_check: WinrmCertificateCheck | '';
  winrm_ca: string;
}

export function connectionDraft(settings: InheritedSettings): ConnectionDraft {
  return {
    protocol: settings.protocol ?? '',
    username: settings.username ?? '',
    port: settings.port ?? null,
    connect_timeout: settings.connect_timeout ?? null,
    keepalive_interval: settings.keepalive_interval ?? null,
    winrm_transport: settings.winrm_transport ?? '',
    winrm_authentication: settings.winrm_authentication ?? '',
    winrm_principal: settings.winrm_principal ?? '',
    winrm_certificate_check: settings.winrm_certificate_check ?? '',
    winrm_ca: settings.winrm_ca ?? '',
  };
}

/** What was entered, and nothing for what was left empty. */
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
    ...(draft.winrm_transport === '' ? {} : { winrm_transport: draft.winrm_transport }),
    ...(draft.winrm_authentication === '' ? {} : { winrm_authentication: draft.winrm_authentication }),
    ...(principal === '' ? {} : { winrm_principal: principal }),
    ...(draft.winrm_certificate_check === ''
      ? {}
      : { winrm_certificate_check: draft.winrm_certificate_check }),
    ...(ca === '' ? {} : { winrm_ca: `${ca}\n` }),
  };
}

/** Whether what is of WinRM alone belongs in the form: it applies, or something of it is given. */
export function isAboutWinrm(draft: ConnectionDraft, inherited: string | undefined): boolean {
  const { winrm_transport, winrm_authentication, winrm_principal, winrm_certificate_check, winrm_ca } = draft;
  const isGiven = [
    winrm_transport,
    winrm_authentication,
    winrm_principal,
    winrm_certificate_check,
    winrm_ca,
  ].some(Boolean);
  return isGiven || (draft.protocol === '' ? inherited : draft.protocol) === 'winrm';
}

function numberOf<Name extends string>(name: Name, value: number | null | undefined) {
  return (value === null || value === undefined ? {} : { [name]: value }) as { [key in Name]?: number };
}
