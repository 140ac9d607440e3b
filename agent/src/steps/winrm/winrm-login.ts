// How a credential logs in to a WinRM target. For a password, the target's settings choose the authentication method;
// every other kind of credential has only one.
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { LeaseWinrm } from '@opsconductor/protocol';
import { SshError } from '../../ssh/ssh-error.ts';
import type { Login } from '../../winrm/login/login.ts';
import type { OpenedCredential } from '../step-type.ts';
import type { TicketCache } from './winrm-connection-options.ts';

/** @throws SshError with the reason `credential_unusable` */
export function winrmLogin(
  credential: OpenedCredential,
  { authentication, principal }: LeaseWinrm,
  caches: readonly TicketCache[],
): Login {
  const { user } = credential;
  const kerberos = (from: Extract<Login, { method: 'kerberos' }>['from']): Login => ({
    method: 'kerberos',
    user,
    from,
    ...(principal === undefined ? {} : { principal }),
  });
  switch (credential.kind) {
    case 'winrm_password': {
      const { password } = credential;
      return authentication === 'kerberos'
        ? kerberos({ password })
        : { method: authentication, user, password };
    }
    case 'winrm_keytab':
      return kerberos({ keytab: Buffer.from(credential.keytab, 'base64') });
    case 'winrm_ticket_cache':
      return kerberos({ cache: `FILE:${pathOf(credential.cache, caches)}` });
    case 'winrm_certificate':
      return certificateLogin(credential);
    default:
      throw unusable(
        'The credential is for SSH, but the target is reached by WinRM.',
        'Choose a credential for WinRM, or set the target’s protocol to ssh.',
      );
  }
}

function pathOf(cache: string, caches: readonly TicketCache[]): string {
  const found = caches.find(({ name }) => name === cache);
  if (found !== undefined) return found.path;
  throw unusable(
    `The policy file of this agent names no ticket cache ${cache}.`,
    'Ask the owner of the agent’s machine to name it under ticket_caches there, or seal the credential again with the right name.',
  );
}

/** Checked here because TLS errors are less precise and would blame the host. */
function certificateLogin(credential: Extract<OpenedCredential, { kind: 'winrm_certificate' }>): Login {
  const { certificate, privateKey, passphrase } = credential;
  const shown = readCertificate(certificate);
  const key = readKey(privateKey, passphrase);
  if (!shown.checkPrivateKey(key)) {
    throw unusable(
      'The private key of the credential does not belong to its certificate.',
      'Store the credential again, with the key that belongs to the first certificate in it.',
    );
  }
  if (Date.parse(shown.validTo) < Date.now()) {
    throw unusable(
      `The certificate of the credential was valid until ${shown.validTo}.`,
      'Have a new one issued, map it on the hosts, and replace the secret of the credential.',
    );
  }
  return {
    method: 'certificate',
    certificate,
    privateKey,
    ...(passphrase === undefined ? {} : { passphrase }),
  };
}

function readCertificate(text: string): X509Certificate {
  try {
    return new X509Certificate(text);
  } catch {
    throw unusable(
      'The certificate of the credential can’t be read.',
      'Store the credential again, with PEM.',
    );
  }
}

function readKey(key: string, passphrase: string | undefined): KeyObject {
  try {
    return createPrivateKey({ key, format: 'pem', ...(passphrase === undefined ? {} : { passphrase }) });
  } catch {
    // The parser's message is dropped: it could reveal parts of the key.
    throw unusable(
      passphrase === undefined
        ? 'The private key of the credential can’t be read, or needs a passphrase.'
        : 'The private key of the credential can’t be read with its passphrase.',
      'Store the credential again, with the key as PEM and its passphrase if it has one.',
    );
  }
}

function unusable(message: string, advice: string): SshError {
  return new SshError({ reason: 'credential_unusable', message, advice });
}
