// What a person enters for a credential, and the secret with its bounds that is made of it.
import type { BoundAuthentication, CredentialKind, CredentialSecret } from '@opsconductor/protocol/sealing';

export interface CredentialDraft {
  kind: CredentialKind;
  user: string;
  password: string;
  privateKey: string;
  passphrase: string;
  certificate: string;
  becomePassword: string;
  /** One host pattern or network per line or comma. */
  hosts: string;
  networks: string;
  ports: string;
  /** Of a WinRM password: it may also go over as it is, in HTTPS. */
  mayBasic: boolean;
}

export const emptyDraft: CredentialDraft = {
  kind: 'ssh_private_key',
  user: '',
  password: '',
  privateKey: '',
  passphrase: '',
  certificate: '',
  becomePassword: '',
  hosts: '',
  networks: '',
  ports: '22',
  mayBasic: false,
};

const usualPorts: Record<CredentialKind, string> = {
  ssh_private_key: '22',
  ssh_password: '22',
  winrm_password: '5985, 5986',
};

/** Ports that nobody has changed follow the kind. */
export function withKind(draft: CredentialDraft, kind: CredentialKind): CredentialDraft {
  const isUsual = draft.ports === usualPorts[draft.kind];
  return { ...draft, kind, ports: isUsual ? usualPorts[kind] : draft.ports };
}

export function splitList(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean);
}

/** The secret as it is sealed. Ports that are no numbers stay NaN, so that the check names them. */
export function secretOf(draft: CredentialDraft): CredentialSecret {
  const bounds = {
    hosts: splitList(draft.hosts),
    networks: splitList(draft.networks),
    ports: splitList(draft.ports).map(Number),
    protocols: [draft.kind === 'winrm_password' ? ('winrm' as const) : ('ssh' as const)],
    user: draft.user.trim(),
    authentication: authenticationOf(draft),
  };
  const user = draft.user.trim();
  const become = draft.becomePassword === '' ? {} : { becomePassword: draft.becomePassword };
  if (draft.kind === 'winrm_password') return { kind: draft.kind, user, password: draft.password, bounds };
  if (draft.kind === 'ssh_password')
    return { kind: draft.kind, user, password: draft.password, ...become, bounds };
  const certificate = draft.certificate.trim();
  const key = draft.privateKey.trim();
  return {
    kind: draft.kind,
    user,
    // OpenSSH refuses a key file whose last line has no end.
    privateKey: key === '' ? '' : `${key}\n`,
    ...(draft.passphrase === '' ? {} : { passphrase: draft.passphrase }),
    ...(certificate === '' ? {} : { certificate }),
    ...become,
    bounds,
  };
}

function authenticationOf({ kind, mayBasic }: CredentialDraft): BoundAuthentication[] {
  if (kind === 'ssh_private_key') return ['publickey'];
  if (kind === 'ssh_password') return ['password', 'keyboard-interactive'];
  return mayBasic ? ['ntlm', 'kerberos', 'basic'] : ['ntlm', 'kerberos'];
}

/** A line for the list: what the author wrote, then the bounds as entered. */
export function describeBounds(draft: CredentialDraft): string {
  const hosts = splitList(draft.hosts);
  const networks = splitList(draft.networks);
  const places = [hosts.join(', '), networks.join(', ')].filter(Boolean).join(' in ');
  return `${draft.user.trim()} on ${places}, port ${splitList(draft.ports).join(', ')}`.slice(0, 1000);
}

/** Which field of the form a problem's path belongs to. */
export function fieldOf(path: string): keyof CredentialDraft | undefined {
  const name = path.replace(/^bounds\./, '').replace(/\[.*$/, '');
  const fields = [
    'user',
    'password',
    'privateKey',
    'passphrase',
    'certificate',
    'becomePassword',
    'hosts',
    'networks',
    'ports',
  ] as const;
  return fields.find((field) => field === name);
}
