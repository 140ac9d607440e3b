import { credentialProblems } from '@opsconductor/protocol/sealing';
import { describe, expect, it } from 'vitest';
import {
  type CredentialDraft,
  describeBounds,
  emptyDraft,
  fieldOf,
  formWords,
  isDescribedByBounds,
  secretOf,
} from './credential-draft.ts';

const pem = (what: string) => `-----BEGIN ${what}-----\nabc\n-----END ${what}-----`;
const draft = (fields: Partial<CredentialDraft>): CredentialDraft => ({
  ...emptyDraft,
  user: 'patch',
  privateKey: '-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----',
  hosts: 'dmz-web-*',
  ...fields,
});

describe('a credential as entered', () => {
  it('becomes a secret whose bounds allow exactly what was entered', () => {
    const secret = secretOf(draft({ networks: '10.20.0.0/16, 10.30.0.0/16' }));
    expect(credentialProblems(secret)).toEqual([]);
    expect(secret.bounds).toEqual({
      hosts: ['dmz-web-*'],
      networks: ['10.20.0.0/16', '10.30.0.0/16'],
      ports: [22],
      protocols: ['ssh'],
      user: 'patch',
      authentication: ['publickey'],
    });
  });

  it('has the certificate of its key and a password for sudo if they are given', () => {
    const certificate = 'ssh-ed25519-cert-v01@openssh.com AAAA deploy';
    const secret = secretOf(draft({ certificate: `${certificate}\n`, becomePassword: 'for sudo' }));
    expect(secret).toMatchObject({ certificate, becomePassword: 'for sudo' });
    expect(credentialProblems(secret)).toEqual([]);
    const [problem] = credentialProblems(secretOf(draft({ certificate: 'ssh-ed25519 AAAA' })));
    expect(fieldOf(problem?.path ?? '')).toBe('certificate');
    expect(secretOf(draft({ kind: 'ssh_password', password: 'x' }))).not.toHaveProperty('becomePassword');
  });

  it.each([
    ['winrm_certificate', 'certificate', { certificate: pem('CERTIFICATE'), privateKey: pem('PRIVATE KEY') }],
    ['winrm_keytab', 'kerberos', { keytab: btoa('\x05\x02\x00\x00\x00\x01') }],
    ['winrm_ticket_cache', 'kerberos', { cache: ' deploy ' }],
  ] as const)('opens WinRM as %s by %s alone', (kind, method, fields) => {
    const secret = secretOf(draft({ ...fields, kind }));
    expect(credentialProblems(secret)).toEqual([]);
    expect(secret.bounds).toMatchObject({ protocols: ['winrm'], authentication: [method] });
  });

  it.each([
    ['ssh_password_source', ['password', 'keyboard-interactive']],
    ['ssh_key_source', ['publickey']],
    ['winrm_password_source', ['ntlm', 'kerberos']],
  ] as const)('names a source as %s and holds no secret', (kind, authentication) => {
    const secret = secretOf(draft({ kind, source: ' deploy ', password: 'x' }));
    expect(credentialProblems(secret)).toEqual([]);
    expect(secret).toMatchObject({ source: 'deploy', bounds: { authentication } });
    expect(JSON.stringify(secret)).not.toMatch(/password":|privateKey/);
  });

  it('passes a password to hosts only if that is allowed', () => {
    const allowed = (more: Partial<CredentialDraft>) =>
      secretOf(draft({ kind: 'winrm_password', password: 'x', ...more })).bounds.authentication;
    expect(allowed({})).toEqual(['ntlm', 'kerberos']);
    expect(allowed({ mayBasic: true, mayRunAs: true })).toEqual(['ntlm', 'kerberos', 'basic', 'run_as']);
  });

  it('restores the final line break of a pasted key', () => {
    const secret = secretOf(draft({}));
    expect(secret.kind === 'ssh_private_key' && secret.privateKey.endsWith('KEY-----\n')).toBe(true);
  });

  it.each([
    ['hosts', draft({ hosts: '' })],
    ['hosts', draft({ hosts: 'dmz web/*' })],
    ['networks', draft({ networks: '10.20.0.0/99' })],
    ['ports', draft({ ports: 'ssh' })],
    ['ports', draft({ ports: '' })],
    ['user', draft({ user: ' ' })],
    ['privateKey', draft({ privateKey: '' })],
    ['password', draft({ kind: 'ssh_password', password: '' })],
    ['certificate', draft({ kind: 'winrm_certificate', certificate: 'ssh-ed25519 AAAA' })],
    ['keytab', draft({ kind: 'winrm_keytab', keytab: btoa('no keytab') })],
    ['source', draft({ kind: 'ssh_password_source', source: '' })],
    ['source', draft({ kind: 'ssh_key_source', source: '/etc/shadow' })],
    ['cache', draft({ kind: 'winrm_ticket_cache', cache: '/tmp/krb5cc_0' })],
  ] as const)('names the field %s when it is wrong', (field, wrong) => {
    const fields = credentialProblems(secretOf(wrong)).map((problem) => fieldOf(problem.path));
    expect(fields).toContain(field);
  });

  it.each([
    draft({ kind: 'ssh_private_key', certificate: 'ssh-ed25519 AAAA' }),
    draft({ kind: 'winrm_certificate', certificate: 'ssh-ed25519 AAAA' }),
    draft({ kind: 'winrm_keytab', keytab: btoa('no keytab') }),
    draft({ kind: 'ssh_password_source', source: '/etc/shadow' }),
    draft({ kind: 'winrm_ticket_cache', cache: '/tmp/krb5cc_0' }),
  ])('has words for each field whose form is only known as a pattern', (wrong) => {
    const patterns = credentialProblems(secretOf(wrong)).filter(({ message }) => message.includes('pattern'));
    const fields = patterns.flatMap(({ path }) => fieldOf(path) ?? []);
    expect(fields.length).toBeGreaterThan(0);
    for (const field of fields.filter((one) => one !== 'privateKey'))
      expect(formWords(wrong.kind, field)).toBeDefined();
  });

  it('is described by its bounds, without the secret', () => {
    expect(describeBounds(draft({ networks: '10.20.0.0/16', ports: '22 2222' }))).toBe(
      'patch on dmz-web-* in 10.20.0.0/16, ports 22, 2222',
    );
  });

  it.each([
    {},
    { hosts: '', networks: '10.20.0.0/16', ports: '22 2222' },
    { user: 'DOMAIN\\the user', hosts: 'a, b' },
  ])('tells a description that was made of its bounds', (fields) => {
    expect(isDescribedByBounds(describeBounds(draft(fields)))).toBe(true);
  });

  it.each(['', 'opens the web servers', 'Deploys on the web servers', 'patch on web-*, port 22 and others'])(
    'tells a description that a person wrote: “%s”',
    (written) => {
      expect(isDescribedByBounds(written)).toBe(false);
    },
  );
});
