// For tests: SSH key pairs.
// biome-ignore lint/style/noRestrictedImports: tests alone reach for what test/ makes them by
export { ed25519KeyPair } from '../../../test/support/key-pairs.ts';
