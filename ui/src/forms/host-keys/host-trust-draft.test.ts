import { expect, it } from 'vitest';
import { hostPatternsProblem, publicKeyProblem } from './host-trust-draft.ts';

const key = `ssh-ed25519 AAAA${'C3'.repeat(30)}`;

it('accepts public key lines, with or without a comment', () => {
  expect(publicKeyProblem(`  ${key} ca@example\n`)).toBeUndefined();
  expect(publicKeyProblem(key.replace('ssh-ed25519', 'ecdsa-sha2-nistp384'))).toBeUndefined();
});

it('says what it is if something else is pasted', () => {
  expect(publicKeyProblem('-----BEGIN OPENSSH PRIVATE KEY-----\nabc')).toMatch(/private key/);
  expect(publicKeyProblem(`${key}\n${key}`)).toMatch(/several lines/);
  expect(publicKeyProblem(`@cert-authority *.example ${key}`)).toMatch(
    /known_hosts\. Begin with ssh-ed25519/,
  );
  expect(publicKeyProblem(`web-1 ${key}`)).toMatch(/known_hosts/);
  expect(publicKeyProblem('ssh-ed25519-cert-v01@openssh.com AAAA')).toMatch(/certificate/);
  expect(publicKeyProblem('ssh-dss AAAA')).toMatch(/Found ssh-dss/);
  expect(publicKeyProblem('ssh-ed25519')).toMatch(/missing or cut off/);
});

it('says what is wrong with a list of host patterns', () => {
  expect(hostPatternsProblem('*.example.com,!canary.example.com,10.0.?.1,fe80::1')).toBeUndefined();
  expect(hostPatternsProblem('a,,b')).toMatch(/nothing beside/);
  expect(hostPatternsProblem('a, b')).toMatch(/space/);
  expect(hostPatternsProblem('[web]:2222')).toMatch(/brackets/);
  expect(hostPatternsProblem('web/1')).toMatch(/not a host pattern/);
  expect(hostPatternsProblem('!canary')).toMatch(/only hosts to leave out/);
});
