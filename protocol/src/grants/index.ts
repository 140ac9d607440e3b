// Signed grants for runs, for Node and the browser.
export { grantedReach, grantedSecret } from './granted-reach.ts';
export * from './run-grant.ts';
export {
  isSignedBy,
  readGrantedTarget,
  readTerms,
  type Signing,
  sha256Hex,
  signGrant,
} from './sign-grant.ts';
export { unsignablePart } from './unsignable.ts';
