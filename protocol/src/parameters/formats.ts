// The formats of strings, each checked in time proportional to the length of the text.
import type { ParameterFormat } from '../api/jobs/parameters.ts';
import { parseAddress } from '../sealing/bounds/ip-address.ts';

/** Descriptions for messages: what a value of the format looks like. */
export const formatWords: Record<ParameterFormat, string> = {
  date: 'a date such as 2026-11-25',
  time: 'a time of day such as 22:30, 22:30:15 or 22:30:15Z',
  'date-time': 'a date and time with its zone such as 2026-11-25T22:30:00Z',
  email: 'an e-mail address such as ada@example.com',
  hostname: 'a host name such as web-1.example.com',
  ipv4: 'an IPv4 address such as 192.0.2.7',
  ipv6: 'an IPv6 address such as 2001:db8::7',
  uri: 'an address with its scheme such as https://example.com/path',
  uuid: 'a UUID such as 6f1c2d3e-4b5a-4978-8c6d-0123456789ab',
};

const checks: Record<ParameterFormat, (text: string) => boolean> = {
  date: isDate,
  time: isTime,
  'date-time': (text) => {
    const at = text.search(/[Tt ]/);
    return at === 10 && isDate(text.slice(0, 10)) && isTime(text.slice(11), true);
  },
  email: isEmail,
  hostname: isHostname,
  ipv4: (text) => /^\d/.test(text) && !text.includes(':') && parseAddress(text) !== undefined,
  ipv6: (text) => text.includes(':') && parseAddress(text) !== undefined,
  uri: (text) =>
    text.length <= 8_192 &&
    /^[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=%]+$/.test(text) &&
    !/%(?![0-9A-Fa-f]{2})/.test(text),
  uuid: (text) => /^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/.test(text),
};

/** Whether a text has the format. An unknown format, which is reported where it is declared, accepts everything. */
export function hasFormat(format: ParameterFormat, text: string): boolean {
  return !Object.hasOwn(checks, format) || checks[format](text);
}

function isDate(text: string): boolean {
  const parts = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text);
  if (parts === null) return false;
  const [year, month, day] = parts.slice(1).map(Number) as [number, number, number];
  const isLeap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
  const days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1] ?? 0;
  return day >= 1 && day <= days;
}

function isTime(text: string, withZone = false): boolean {
  const parts = /^(\d{2}):(\d{2})(?::(\d{2})(?:\.\d{1,9})?)?([Zz]|[+-](\d{2}):(\d{2}))?$/.exec(text);
  if (parts === null) return false;
  const [, hour, minute, second = '0', zone, zoneHour = '0', zoneMinute = '0'] = parts;
  if (withZone && (zone === undefined || parts[3] === undefined)) return false;
  const isIn = (part: string | undefined, max: number) => Number(part) <= max;
  return isIn(hour, 23) && isIn(minute, 59) && isIn(second, 59) && isIn(zoneHour, 23) && isIn(zoneMinute, 59);
}

function isEmail(text: string): boolean {
  const at = text.lastIndexOf('@');
  const local = text.slice(0, at);
  return (
    at > 0 &&
    text.length <= 254 &&
    local.length <= 64 &&
    /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+$/.test(local) &&
    !/^\.|\.\.|\.$/.test(local) &&
    isHostname(text.slice(at + 1))
  );
}

function isHostname(text: string): boolean {
  return (
    text.length <= 253 &&
    text
      .split('.')
      .every((label) => label.length <= 63 && /^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?$/.test(label))
  );
}
