// Secrets that nobody named and that an agent has found by their form: what is told of them, which is never what they are.
import { type Static, Type } from 'typebox';

/** Published in the API; never renamed. Agents of a later version know more. */
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

/** Where one was masked: `text` stands for messages, names of files, and values that are handed on. */
export const detectionPlaces = ['stdout', 'stderr', 'text'] as const;
export type DetectionPlace = (typeof detectionPlaces)[number];

/** Of all versions of agents together, so that a step of a later one can end. */
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
