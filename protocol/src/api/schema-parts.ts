// Building blocks of all REST schemas. Requests refuse unknown properties; response schemas describe what is sent.
import { type Static, type TProperties, type TSchema, Type } from 'typebox';
import { limits } from '../limits.ts';

export const Id = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
export const Timestamp = Type.String({ description: 'RFC 3339 with milliseconds, UTC', maxLength: 40 });
/** A calendar day by its form only; whoever accepts one must check that it exists (`isCalendarDate`). */
export const CalendarDate = Type.String({
  pattern: '^[0-9]{4}-[0-9]{2}-[0-9]{2}$',
  description: 'A day, such as 2027-01-31',
});
/** Whether the day exists: 2027-02-30 doesn't. */
export function isCalendarDate(text: string): boolean {
  const [year = 0, month = 0, day = 0] = text.split('-').map(Number);
  const date = new Date(Date.UTC(year, month - 1, day));
  return year >= 1900 && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}
export const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
/** An object that refuses properties it does not name. */
export const Closed = <P extends TProperties>(properties: P) =>
  Type.Object(properties, { additionalProperties: false });
/**
 * A partial update of something without versions: omitted fields stay as they are. Every field must be optional;
 * `expected` states what some of them must still be.
 */
export const Changes = <P extends TProperties>(fields: P) =>
  Closed({
    ...fields,
    /**
     * Values that fields had when the change was made. If one is different by now, the answer is 409 and nothing
     * changes. They are only compared, never stored, so a value stored under older rules is accepted here as it is.
     */
    expected: Type.Optional(Type.Unsafe<Partial<StaticOf<P>>>(Closed(comparedOf(fields)))),
  });
type StaticOf<P extends TProperties> = { [name in keyof P]: Static<P[name]> };

function comparedOf(fields: TProperties): TProperties {
  return Object.fromEntries(Object.keys(fields).map((name) => [name, Type.Optional(Type.Unknown())]));
}
export const Page = <T extends TSchema>(item: T) =>
  Type.Object({
    items: Type.Array(item),
    nextCursor: Nullable(
      Type.String({ description: 'Pass as `cursor` for the next page; null on the last' }),
    ),
  });

/** Query of every list. Query values arrive as strings; the server parses integers strictly. */
export const pageQuery = {
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: limits.maxPageItems, default: limits.defaultPageItems }),
  ),
  cursor: Type.Optional(Type.String({ minLength: 1, maxLength: 200 })),
};
