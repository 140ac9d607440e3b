// Secrets of 200 shapes, all different from each other, and the same ones every time.
import { createHash } from 'node:crypto';

export interface Canary {
  shape: string;
  secret: string;
}

/** Hex digits that occur in nothing else. */
function digits(seed: string, count: number): string {
  let text = '';
  for (let at = 0; text.length < count; at++)
    text += createHash('sha256').update(`${seed}.${at}`).digest('hex');
  return text.slice(0, count);
}

/** Made from a part that is the secret's own, and its size. */
const shapes: Record<string, (own: string, size: number) => string> = {
  hex: (own) => own,
  'decimal digits': (own) => BigInt(`0x${own}`).toString(),
  base64: (own) => Buffer.from(own, 'hex').toString('base64').padEnd(own.length, '+/='),
  base64url: (own) => `-_${Buffer.from(own, 'hex').toString('base64url')}`.slice(1),
  'words with blanks': (own) => `correct ${own} horse  battery`,
  'blanks around': (own) => `  ${own}\t `,
  'for a shell': (own) => `'$(id)' "\`${own}\`" \${HOME} ; & | > < * ? ! ~ #`,
  backslashes: (own) => `C:\\${own}\\n\\t\\\\${own.slice(0, 4)}\\`,
  percents: (own) => `100%${own}%41%2F%%`,
  'for XML': (own) => `<a b="${own}">&amp;'</a>`,
  'for a URL': (own) => `${own}?a=b&c=d#e/f:g@h+i j`,
  'Latin letters': (own) => `pässwörd-${own}-é`,
  'Chinese letters': (own) => `密码${own}秘密`,
  emoji: (own) => `🔑${own}🚀👩‍🚀`,
  'control characters': (own) => `\u0001${own}\u001b[31m\u007f`,
  'a JSON document': (own) => JSON.stringify({ password: own, nested: { quoted: '"', list: [1, 2] } }),
  'a token with dots': (own) => `eyJhbGciOiJIUzI1NiJ9.${Buffer.from(own).toString('base64url')}.${own}`,
  'lines of a key': (own, size) =>
    `-----BEGIN TEST KEY-----\n${lines(own, 2 + size, 64, 'base64').join('\n')}\n-----END TEST KEY-----`,
  'lines of Windows': (own, size) => lines(own, 2 + size, 12, 'hex').join('\r\n'),
  long: (own, size) => digits(own, 200 * (size + 1)),
};

function lines(own: string, count: number, length: number, encoding: 'hex' | 'base64'): string[] {
  return Array.from({ length: count }, (_, at) =>
    Buffer.from(digits(`${own}${at}`, 2 * length), 'hex')
      .toString(encoding)
      .slice(0, length),
  );
}

/** Returns ten sizes of each of twenty shapes; the shortest have 8 characters. Another `kind` gives other secrets. */
export function canaries(kind = ''): Canary[] {
  return Object.entries(shapes).flatMap(([shape, make]) =>
    Array.from({ length: 10 }, (_, size) => ({
      shape: `${shape}, size ${size}`,
      secret: make(digits(`${kind}${shape}.${size}`, 8 + 2 * size), size),
    })),
  );
}
