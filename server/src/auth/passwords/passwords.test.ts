import { expect, onTestFinished, test } from 'vitest';
import { passwordCost } from './password-cost.ts';
import { hashPassword, isOutdated, verifyPassword } from './passwords.ts';
import { hashCheaply } from './testing.ts';

const real = hashCheaply();

/** Uses the real password cost until the test has ended. */
function inEarnest(): void {
  const cheap = { ...passwordCost };
  onTestFinished(() => void Object.assign(passwordCost, cheap));
  Object.assign(passwordCost, real);
}

test('only the password that was hashed verifies, and no two hashes are equal', async () => {
  inEarnest();
  const [one, other] = await Promise.all([hashPassword('correct horse'), hashPassword('correct horse')]);
  expect(one).toMatch(/^scrypt\$32768\$8\$3\$[\w-]{22}\$[\w-]{43}$/);
  expect(one).not.toBe(other);
  expect(await verifyPassword('correct horse', one)).toBe(true);
  expect(await verifyPassword('correct hors', one)).toBe(false);
  expect(await verifyPassword('Correct horse', one)).toBe(false);
});

test('one password in two Unicode forms is one password', async () => {
  const stored = await hashPassword('Zoe\u0308 Café Straße');
  expect(await verifyPassword('Zo\u00eb Cafe\u0301 Straße', stored)).toBe(true);
});

test('the standard’s test vector verifies, at its own cost', async () => {
  // RFC 7914 section 12, the first 32 bytes of scrypt("password", "NaCl", N=1024, r=8, p=16).
  const hash = Buffer.from('fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162', 'hex');
  const stored = `scrypt$1024$8$16$${Buffer.from('NaCl').toString('base64url')}$${hash.toString('base64url')}`;
  expect(await verifyPassword('password', stored)).toBe(true);
  expect(await verifyPassword('passwort', stored)).toBe(false);
});

test('without a stored hash nothing verifies, and it takes the same work', async () => {
  // Long enough to stand out from everything else.
  Object.assign(passwordCost, { N: 2 ** 14 });
  onTestFinished(() => void Object.assign(passwordCost, { N: 2 ** 10 }));
  const stored = await hashPassword('x');
  // CPU time of this process, whatever else the machine does; the least of three, whatever else this process does.
  const timed = async (work: () => Promise<unknown>) => {
    const times: number[] = [];
    for (let n = 0; n < 3; n += 1) {
      const before = process.cpuUsage();
      await work();
      times.push(process.cpuUsage(before).user);
    }
    return Math.min(...times);
  };
  const known = await timed(() => verifyPassword('y', stored));
  for (const none of [null, undefined, '', 'plain', 'scrypt$']) {
    expect(await verifyPassword('', none)).toBe(false);
  }
  expect(await timed(() => verifyPassword('y', null))).toBeGreaterThan(known / 4);
});

test('a hash with another cost is reported as outdated', async () => {
  inEarnest();
  const stored = await hashPassword('x');
  expect(isOutdated(stored)).toBe(false);
  expect(isOutdated(stored.replace('$3$', '$1$'))).toBe(true);
  expect(isOutdated(stored.replace('$32768$', '$16384$'))).toBe(true);
  expect(isOutdated('')).toBe(true);
});

test('only a few attempts from one address wait, and one that is not admitted costs no work', async () => {
  const stored = await hashPassword('x');
  const stranger = { address: '6.6.6.6', isKnown: false };
  let admitted = 0;
  const attempts = Array.from({ length: 10 }, () =>
    verifyPassword('y', stored, stranger, async () => {
      admitted++;
    }),
  );
  const results = await Promise.allSettled(attempts);
  const refused = results.filter((result) => result.status === 'rejected');
  expect(refused).toHaveLength(4);
  expect(refused[0]?.reason).toMatchObject({ code: 'unavailable', retryAfterS: 5 });
  expect(admitted).toBe(6);
  const locked = verifyPassword('x', stored, stranger, async () => {
    throw new Error('locked');
  });
  await expect(locked).rejects.toThrow('locked');
  expect(await verifyPassword('x', stored, stranger)).toBe(true);
});
