// Parsers of single settings; they return undefined, or false, for an invalid text.
import { accessSync, constants } from 'node:fs';
import { isIP, isIPv6 } from 'node:net';
import { resolve } from 'node:path';
import { type LogLevel, logLevels } from '../log.ts';

export function portOf(text: string): number | undefined {
  return /^\d{1,5}$/.test(text) && Number(text) <= 65_535 ? Number(text) : undefined;
}

export function retentionDaysOf(text: string): number | undefined {
  const days = /^\d{2,5}$/.test(text) ? Number(text) : 0;
  return days >= 30 && days <= 36_500 ? days : undefined;
}

export function addressOf(text: string): string | undefined {
  const address = withoutBrackets(text);
  return isIP(address) !== 0 || address === 'localhost' ? address : undefined;
}

/** An IPv6 address without the brackets that it has in a URL; any other text as it is. */
export function withoutBrackets(text: string): string {
  const inside = /^\[(.*)\]$/.exec(text)?.[1];
  return inside !== undefined && isIPv6(inside) ? inside : text;
}

/** Returns the origin of a URL that has nothing more than that; undefined for any other text. */
export function publicUrlOf(text: string): string | undefined {
  const url = urlOf(text);
  const isOrigin = url !== undefined && /^https?:$/.test(url.protocol) && `${url.origin}/` === url.href;
  return isOrigin ? url.origin : undefined;
}

function urlOf(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

export function logLevelOf(text: string): LogLevel | undefined {
  return logLevels.find((level) => level === text.toLowerCase());
}

/** Returns the absolute path of a file that this process can read; undefined for any other. */
export function readableFileOf(text: string): string | undefined {
  try {
    accessSync(text, constants.R_OK);
    return resolve(text);
  } catch {
    return undefined;
  }
}

/** If there were several hosts, only the first would ever be dialed. */
export function databaseUrlOf(text: string): boolean {
  const url = urlOf(text);
  return (
    url !== undefined &&
    /^postgres(ql)?:$/.test(url.protocol) &&
    url.pathname.length > 1 &&
    !/,|%2c/i.test(url.hostname)
  );
}

export function bootstrapTokenOf(text: string): boolean {
  return /^[\w.~+/=-]{32,512}$/.test(text);
}
