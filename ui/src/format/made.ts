// With what an API token was made, what was made with one, and why some of that stays when the rest is ended, in words.
import type { MadeThing, MadeWith } from '@opsconductor/protocol';
import { ago } from './moment.ts';
import { counted } from './quantity.ts';

/** `made with deploy, which has ended`; `owner` need not be told as the one whose token or session it was. */
export function madeWithWords(madeWith: MadeWith, owner: string | null, now: number): string {
  const { kind, name, user, begunAt, hasEnded } = madeWith;
  const of = user === owner ? '' : ` of ${user ?? 'a user who was deleted'}`;
  const what =
    kind === 'api_token'
      ? `with API token ${name ?? madeWith.id}${of}`
      : `in a session${of}${begunAt === null ? '' : ` that began ${ago(begunAt, now)}`}`;
  const ended = kind === 'session' && begunAt !== null ? ' and has ended' : ', which has ended';
  return `made ${what}${hasEnded ? ended : ''}`;
}

/** `API token deploy of ada`. */
export function thingWords({ kind, id, name, user, segment, createdAt }: MadeThing, now: number): string {
  switch (kind) {
    case 'api_token':
      return name === null ? 'an API token of someone else' : `API token ${name} of ${user ?? 'nobody'}`;
    case 'session':
      return user === null
        ? 'a session of someone else'
        : `session of ${user} that began ${ago(createdAt, now)}`;
    case 'sign_in_link':
      return user === null ? 'a sign-in link for someone else' : `unused sign-in link for ${user}`;
    case 'enrollment_token':
      return segment === null
        ? 'an enrollment token for another segment'
        : `unused enrollment token ${id} for ${segment}`;
    case 'agent':
      return segment === null ? 'an agent in another segment' : `agent ${name ?? id} in ${segment}`;
  }
}

/** Why something stays, and what to do. */
export function staysWords(stays: NonNullable<MadeThing['stays']>): string {
  switch (stays) {
    case 'needs_people_edit':
      return 'you may not edit people';
    case 'user_holds_more':
      return 'its user may do more than you';
    case 'needs_agents_enroll':
      return 'you may not enroll agents there';
    case 'agent':
      return 'revoke it under Agents';
    case 'asks':
      return 'you are using it';
  }
}

/** `the one thing that was made with it`. */
export function thingsMade(ends: number, it: string): string {
  return ends === 1
    ? `the one thing that was made ${it}`
    : `the ${counted(ends, 'thing')} that were made ${it}`;
}
