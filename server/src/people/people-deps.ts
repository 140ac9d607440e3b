// Dependencies that the features of this folder share.
import type { IdentityDeps } from '../auth/identity-deps.ts';

export interface PeopleDeps extends IdentityDeps {
  /** Where people reach this installation, without a trailing slash. */
  publicUrl: string;
}
