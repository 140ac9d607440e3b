// What was masked in a step's output without having been declared, in words.
import type { DetectedKind, DetectionPlace, Step } from '@opsconductor/protocol';
import { counted } from '../../../format/quantity.ts';

const kinds: Record<DetectedKind, [one: string, many: string]> = {
  private_key: ['private key', 'private keys'],
  aws_access_key_id: ['AWS access key ID', 'AWS access key IDs'],
  github_token: ['GitHub token', 'GitHub tokens'],
  gitlab_token: ['GitLab token', 'GitLab tokens'],
  slack_token: ['Slack token', 'Slack tokens'],
  stripe_key: ['Stripe key', 'Stripe keys'],
  google_api_key: ['Google API key', 'Google API keys'],
  npm_token: ['npm token', 'npm tokens'],
  jwt: ['JSON web token', 'JSON web tokens'],
  authorization_header: ['Authorization header', 'Authorization headers'],
  url_password: ['password in a URL', 'passwords in URLs'],
  opsconductor_token: ['OpsConductor token', 'OpsConductor tokens'],
};
const places: Record<DetectionPlace, string> = {
  stdout: 'in standard output',
  stderr: 'in standard error',
  text: 'in messages, file names or values handed on',
};

/** One text per kind and place: `2 GitHub tokens in standard output`. */
export function detectionTexts(detections: Step['detections'] = []): string[] {
  return detections.map(({ kind, place, count }) => `${counted(count, ...wordsFor(kind))} ${places[place]}`);
}

/** An agent of a later version may know more kinds. */
function wordsFor(kind: string): [one: string, many: string] {
  return Object.hasOwn(kinds, kind) ? kinds[kind as DetectedKind] : [`secret (${kind})`, `secrets (${kind})`];
}
