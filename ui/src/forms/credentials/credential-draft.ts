// What a person enters for a credential, and how that becomes the secret with its bounds.
import type { BoundAuthentication, CredentialKind, CredentialSecret } from '@opsconductor/protocol/sealing';

export interface CredentialDraft {
  kind: CredentialKind;
  user: string;
  password: string;
  privateKey: string;
  passphrase: string;
  certificate: string;
  /** The file in base64. */
  keytab: string;
  /** Name of a ticket cache in the agent's policy file. */
  cache: string;
  /** Name of a source in the agent's policy file. */
  source: string;
  becomePassword: string;
  /** Host patterns or networks, separated by line breaks or commas. */
  hosts: string;
  networks: string;
  ports: string;
  /** For a WinRM password: it may also be sent as is, over HTTPS. */
  mayBasic: boolean;
  /** For a WinRM password: it may be passed to hosts, to run commands as its user. */
  mayRunAs: boolean;
}

export const emptyDraft: CredentialDraft = {
  kind: 'ssh_private_key',
  user: '',
  password: '',
  privateKey: '',
  passphrase: '',
  certificate: '',
  keytab: '',
  cache: '',
  source: '',
  becomePassword: '',
  hosts: '',
  networks: '',
  ports: '22',
  mayBasic: false,
  mayRunAs: false,
};

const usualPorts: Record<CredentialKind, string> = {
  ssh_private_key: '22',
  ssh_password: '22',
  winrm_password: '5985, 5986',
  winrm_certificate: '5986',
  winrm_keytab: '5985, 5986',
  winrm_ticket_cache: '5985, 5986',
  ssh_password_source: '22',
  ssh_key_source: '22',
  winrm_password_source: '5985, 5986',
};

/** Returns whether a kind is a WinRM password, which can be used in several ways. */
export function isWinrmPassword(kind: CredentialKind): boolean {
  return kind === 'winrm_password' || kind === 'winrm_password_source';
}

/** Named after what they open, as in the list and the form. */
export const kindNames: Record<CredentialKind, string> = {
  ssh_private_key: 'SSH private key',
  ssh_password: 'SSH password',
  winrm_password: 'WinRM password',
  winrm_certificate: 'WinRM client certificate',
  winrm_keytab: 'WinRM keytab',
  winrm_ticket_cache: 'WinRM ticket cache',
  ssh_password_source: 'SSH password on the agents',
  ssh_key_source: 'SSH private key on the agents',
  winrm_password_source: 'WinRM password on the agents',
};

export function isWinrm(kind: CredentialKind): boolean {
  return kind.startsWith('winrm_');
}

/** Returns whether the agents read the secret on their own machine, from a source that their policy file names. */
export function hasSource(kind: CredentialKind): boolean {
  return kind.endsWith('_source');
}

/** Changes the kind; ports follow unless somebody has changed them. */
export function withKind(draft: CredentialDraft, kind: CredentialKind): CredentialDraft {
  const isUsual = draft.ports === usualPorts[draft.kind];
  return { ...draft, kind, ports: isUsual ? usualPorts[kind] : draft.ports };
}

function splitList(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean);
}

/** Returns the secret to seal. Ports that are no numbers become NaN, so that validation reports them. */
export function secretOf(draft: CredentialDraft): CredentialSecret {
  const bounds = {
    hosts: splitList(draft.hosts),
    networks: splitList(draft.networks),
    ports: splitList(draft.ports).map(Number),
    protocols: [isWinrm(draft.kind) ? ('winrm' as const) : ('ssh' as const)],
    user: draft.user.trim(),
    authentication: authenticationOf(draft),
  };
  const user = draft.user.trim();
  const become = draft.becomePassword === '' ? {} : { becomePassword: draft.becomePassword };
  const key = draft.privateKey.trim();
  // OpenSSH refuses a key file whose last line has no line break.
  const privateKey = key === '' ? '' : `${key}\n`;
  const passphrase = draft.passphrase === '' ? {} : { passphrase: draft.passphrase };
  const certificate = draft.certificate.trim();
  const source = draft.source.trim();
  switch (draft.kind) {
    case 'ssh_private_key': {
      const own = certificate === '' ? {} : { certificate };
      return { kind: draft.kind, user, privateKey, ...passphrase, ...own, ...become, bounds };
    }
    case 'ssh_password':
      return { kind: draft.kind, user, password: draft.password, ...become, bounds };
    case 'winrm_password':
      return { kind: draft.kind, user, password: draft.password, bounds };
    case 'winrm_certificate':
      return { kind: draft.kind, user, certificate, privateKey, ...passphrase, bounds };
    case 'winrm_keytab':
      return { kind: draft.kind, user, keytab: draft.keytab, bounds };
    case 'winrm_ticket_cache':
      return { kind: draft.kind, user, cache: draft.cache.trim(), bounds };
    case 'ssh_password_source':
      return { kind: draft.kind, user, source, ...become, bounds };
    case 'ssh_key_source':
      return { kind: draft.kind, user, source, ...passphrase, ...become, bounds };
    case 'winrm_password_source':
      return { kind: draft.kind, user, source, bounds };
  }
}

function authenticationOf({ kind, mayBasic, mayRunAs }: CredentialDraft): BoundAuthentication[] {
  if (kind === 'ssh_private_key' || kind === 'ssh_key_source') return ['publickey'];
  if (kind === 'ssh_password' || kind === 'ssh_password_source') return ['password', 'keyboard-interactive'];
  if (kind === 'winrm_certificate') return ['certificate'];
  if (!isWinrmPassword(kind)) return ['kerberos'];
  return [
    'ntlm',
    'kerberos',
    ...(mayBasic ? (['basic'] as const) : []),
    ...(mayRunAs ? (['run_as'] as const) : []),
  ];
}

/** Description for the list: what the author wrote, then the bounds as entered. */
export function describeBounds(draft: CredentialDraft): string {
  const hosts = splitList(draft.hosts);
  const networks = splitList(draft.networks);
  const places = [hosts.join(', '), networks.join(', ')].filter(Boolean).join(' in ');
  const ports = splitList(draft.ports);
  return `${draft.user.trim()} on ${places}, ${ports.length === 1 ? 'port' : 'ports'} ${ports.join(', ')}`.slice(
    0,
    1000,
  );
}

/** Whether a description is one that `describeBounds` gave. What a person has written stays when the bounds change. */
export function isDescribedByBounds(description: string): boolean {
  return /^\S.* on .+, (port \d+|ports \d+(, \d+)+)$/s.test(description);
}

const policyName =
  'It must be a name from the policy file: lowercase letters, digits, dots, hyphens and underscores';

/** What a field of a wrong form must be, where the schema has only a pattern to say it. */
export function formWords(kind: CredentialKind, field: keyof CredentialDraft): string | undefined {
  switch (field) {
    case 'certificate':
      return kind === 'winrm_certificate'
        ? 'Paste certificates and nothing else, each from its line -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----'
        : 'Paste the one line of the file that ends in -cert.pub';
    case 'keytab':
      return 'This file is no keytab';
    case 'cache':
    case 'source':
      return policyName;
    default:
      return undefined;
  }
}

/** Returns the form field that a problem's path belongs to. */
export function fieldOf(path: string): keyof CredentialDraft | undefined {
  const name = path.replace(/^bounds\./, '').replace(/\[.*$/, '');
  const fields = [
    'user',
    'password',
    'privateKey',
    'passphrase',
    'certificate',
    'keytab',
    'cache',
    'source',
    'becomePassword',
    'hosts',
    'networks',
    'ports',
  ] as const;
  return fields.find((field) => field === name);
}
