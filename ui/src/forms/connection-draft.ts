// Connection settings as a person enters them; what is left empty is inherited.
import type { ConnectionProtocol, InheritedSettings } from '@opsconductor/protocol';

export interface ConnectionDraft {
  protocol: ConnectionProtocol | '';
  username: string;
  /** Null and undefined: empty. */
  port: number | null | undefined;
  connect_timeout: number | null | undefined;
  keepalive_interval: number | null | undefined;
}

export function connectionDraft(settings: InheritedSettings): ConnectionDraft {
  return {
    protocol: settings.protocol ?? '',
    username: settings.username ?? '',
    port: settings.port ?? null,
    connect_timeout: settings.connect_timeout ?? null,
    keepalive_interval: settings.keepalive_interval ?? null,
  };
}

/** What was entered, and nothing for what was left empty. */
export function settingsOf(draft: ConnectionDraft): InheritedSettings {
  const username = draft.username.trim();
  return {
    ...(draft.protocol === '' ? {} : { protocol: draft.protocol }),
    ...(username === '' ? {} : { username }),
    ...numberOf('port', draft.port),
    ...numberOf('connect_timeout', draft.connect_timeout),
    ...numberOf('keepalive_interval', draft.keepalive_interval),
  };
}

function numberOf<Name extends string>(name: Name, value: number | null | undefined) {
  return (value === null || value === undefined ? {} : { [name]: value }) as { [key in Name]?: number };
}
