import { Closed, Id, PutSegmentSettingsRequestSchema, SegmentSettingsSchema } from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import { getSegmentSettings, putSegmentSettings } from '../../../segments/segment-settings.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'segments';
const path = '/api/v1/segments/:id/settings';
const params = Closed({ id: Id });

export function segmentSettingsRoutes({ sql }: { sql: Sql }): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path,
      permission: 'read',
      scoped: true,
      summary: 'Get the connection settings that a segment gives to its targets',
      tag,
      params,
      success: { status: 200, schema: SegmentSettingsSchema },
      handle: ({ params, principal }) => getSegmentSettings(sql, params.id, principal),
    }),
    route({
      method: 'PUT',
      path,
      permission: 'segments.edit',
      scoped: true,
      summary: 'Change the connection settings that a segment gives to its targets',
      description:
        'They apply to targets for which nothing more specific has the setting: targets and target groups win. Fields that are left out stay unchanged; `settings` are replaced as a whole. `expected` gives the values that fields had before the change; if any of them differs by now, the answer is 409, with a detail for each.',
      tag,
      params,
      body: PutSegmentSettingsRequestSchema,
      success: { status: 200, schema: SegmentSettingsSchema },
      handle: (request) => putSegmentSettings(sql, request.params.id, request.body, callerOf(request)),
    }),
  ];
}
