import type { Attack } from './attack.ts';
import { insiders } from './insiders.ts';
import { strangers } from './strangers.ts';

/** Those of strangers first, as they cost their author least. */
export const attacks: readonly Attack[] = [...strangers, ...insiders];
