// The hours in which steps may begin.
import { type Hours, type Weekday, weekdays } from './policy-schema.ts';

/** Returns what is wrong beyond the schema, each with its path; empty if nothing is. */
export function hoursProblems({ timezone, windows }: Hours): { path: string; message: string }[] {
  const problems = windows.flatMap(({ from, to }, at) =>
    from === to
      ? [{ path: `windows[${at}].to`, message: 'is the same as from; write 00:00 to 24:00 for a whole day' }]
      : [],
  );
  return [...timezoneProblems(timezone), ...problems];
}

/** As `hoursProblems`, of the time zone alone. */
export function timezoneProblems(timezone: string): { path: string; message: string }[] {
  if (isTimezone(timezone)) return [];
  const message = 'is not a time zone that this machine knows; write one such as Europe/Berlin or UTC';
  return [{ path: 'timezone', message }];
}

/** A window that ends before it begins continues past midnight, and belongs to the day on which it began. */
export function isWithin({ timezone, windows }: Hours, at: Date): boolean {
  const { day, minute } = localTime(timezone, at);
  const yesterday = weekdays[(weekdays.indexOf(day) + 6) % 7] as Weekday;
  return windows.some(({ days = weekdays, from, to }) => {
    const [start, end] = [minuteOf(from), minuteOf(to)];
    const allows = (on: Weekday) => days.includes(on);
    if (start < end) return allows(day) && start <= minute && minute < end;
    return (allows(day) && start <= minute) || (allows(yesterday) && minute < end);
  });
}

export function hoursText({ timezone, windows }: Hours): string {
  const texts = windows.map(
    ({ days, from, to }) => `${days === undefined ? '' : `${days.join(' ')} `}${from}-${to}`,
  );
  return `${texts.join(', ')} (${timezone})`;
}

function localTime(timezone: string, at: Date): { day: Weekday; minute: number } {
  const parts = new Intl.DateTimeFormat('en-GB', {
    timeZone: timezone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  }).formatToParts(at);
  const part = (type: string) => parts.find((each) => each.type === type)?.value ?? '';
  return {
    day: part('weekday').toLowerCase() as Weekday,
    minute: Number(part('hour')) * 60 + Number(part('minute')),
  };
}

function minuteOf(time: string): number {
  const [hours = 0, minutes = 0] = time.split(':').map(Number);
  return hours * 60 + minutes;
}

function isTimezone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en-GB', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}
