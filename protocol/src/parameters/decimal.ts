// Exact multiples of decimal fractions, which binary fractions can only approximate: 0.3 is a multiple of 0.1.

interface Decimal {
  digits: bigint;
  /** Digits after the decimal point. */
  scale: number;
}

/** Whether a number is a multiple of another, taking both as the decimals that they are written as. */
export function isMultipleOf(value: number, step: number): boolean {
  const a = decimalOf(value);
  const b = decimalOf(step);
  const scale = Math.max(a.scale, b.scale);
  const inUnits = ({ digits, scale: own }: Decimal) => digits * 10n ** BigInt(scale - own);
  const stepUnits = inUnits(b);
  return stepUnits !== 0n && inUnits(a) % stepUnits === 0n;
}

/** Returns the shortest decimal that reads back as this finite double; it has at most 700 digits. */
function decimalOf(value: number): Decimal {
  const [mantissa = '0', exponent = '0'] = String(value).split('e');
  const [whole = '0', fraction = ''] = mantissa.split('.');
  const scale = fraction.length - Number(exponent);
  const digits = BigInt(whole + fraction);
  return scale >= 0 ? { digits, scale } : { digits: digits * 10n ** BigInt(-scale), scale: 0 };
}
