// Secrets that nobody named and that an agent found by their form: what is reported about them, never their value.
import { type Static, Type } from 'typebox';

/** Published in the API, so never renamed. Newer agents may know more. */
export const detectedKinds = [
  'private_key',
  'aws_access_key_id',
  'github_token',
  'gitlab_token',
  'slack_token',
  'stripe_key',
  'google_api_key',
  'npm_token',
  'jwt',
  'authorization_header',
  'url_password',
  'opsconductor_token',
] as const;
export type DetectedKind = (typeof detectedKinds)[number];

/** Where a secret was masked: `text` stands for messages, file names, and values that are handed on. */
export const detectionPlaces = ['stdout', 'stderr', 'text'] as const;
export type DetectionPlace = (typeof detectionPlaces)[number];

/** Enough for agents of any later version, so that a server doesn't refuse the results of their steps. */
const maxDetections = 64 * detectionPlaces.length;

export const DetectionSchema = Type.Object(
  {
    kind: Type.String({ pattern: '^[a-z][a-z0-9_]{0,39}$' }),
    place: Type.Enum(detectionPlaces),
    count: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }),
  },
  { additionalProperties: false },
);
export const DetectionsSchema = Type.Array(DetectionSchema, { maxItems: maxDetections });
export type Detections = Static<typeof DetectionsSchema>;
