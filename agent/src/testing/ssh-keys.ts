// For tests: SSH key pairs.
// biome-ignore lint/style/noRestrictedImports: only tests use what test/ makes keys with
export { ed25519KeyPair } from '../../../test/support/key-pairs.ts';
