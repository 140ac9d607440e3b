import {
  ArtifactQuerySchema,
  ArtifactSchema,
  Closed,
  CreateFileRequestSchema,
  FileQuerySchema,
  FileUsesSchema,
  FinishFileRequestSchema,
  Id,
  limits,
  Page,
  ReceivedContentSchema,
  StoredFileSchema,
  UploadQuerySchema,
} from '@opsconductor/protocol';
import { Type } from 'typebox';
import { callerOf } from '../../caller.ts';
import { AppError, notFound } from '../../errors.ts';
import { readContent } from '../../files/content-pieces.ts';
import { deleteFile } from '../../files/delete-file.ts';
import { getArtifact, listArtifacts } from '../../files/list-artifacts.ts';
import { fileUses, getFile, listFiles } from '../../files/list-files.ts';
import {
  createFile,
  digestOfReceived,
  type FileDeps,
  finishFile,
  uploadBytes,
} from '../../files/upload-file.ts';
import type { RunKeys } from '../../runs/run-keys.ts';
import { seeRun } from '../../runs/view/seen-run.ts';
import { findContent } from '../../store/files/contents.ts';
import { readInTurns } from '../../turns/read-in-turns.ts';
import { answerBytes, attachmentHeaders, partAnswers } from '../answers/byte-answer.ts';
import { type RouteSpec, route } from '../route.ts';

const tag = 'files';
const params = Closed({ id: Type.String({ format: 'uuid' }) });
const bytesOnly = {
  status: 200,
  contentType: 'application/octet-stream',
  others: partAnswers('application/octet-stream'),
} as const;
const downloadDescription =
  'Takes HTTP ranges. Sent as an attachment of type application/octet-stream, whatever its content.';

export interface FileRouteDeps extends FileDeps {
  keys: RunKeys;
}

export function fileRoutes(deps: FileRouteDeps): RouteSpec[] {
  return [...reads(deps), ...uploads(deps), ...artifacts(deps)];
}

function reads(deps: FileRouteDeps): RouteSpec[] {
  const { sql } = deps;
  return [
    route({
      method: 'GET',
      path: '/api/v1/files',
      permission: 'read',
      scoped: true,
      summary: 'List uploaded files by name',
      description:
        '`state=uploading&mine=true` lists the caller’s unfinished uploads, which can be continued at their `receivedBytes`.',
      tag,
      query: FileQuerySchema,
      success: { status: 200, schema: Page(StoredFileSchema) },
      handle: ({ query, principal }) =>
        listFiles(sql, query, principal.authority.reach('read'), principal.userId),
    }),
    route({
      method: 'GET',
      path: '/api/v1/files/:id',
      permission: 'read',
      scoped: true,
      summary: 'Get a file and the progress of its upload',
      tag,
      params,
      success: { status: 200, schema: StoredFileSchema },
      handle: ({ params, principal }) => getFile(sql, params.id, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/files/:id/uses',
      permission: 'read',
      scoped: true,
      summary: 'List the jobs whose current version names a file',
      tag,
      params,
      success: { status: 200, schema: FileUsesSchema },
      handle: ({ params, principal }) => fileUses(sql, params.id, principal.authority.reach('read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/files/:id/content',
      permission: 'read',
      scoped: true,
      summary: 'Download a file',
      description: downloadDescription,
      tag,
      params,
      success: bytesOnly,
      errors: ['conflict'],
      handle: async ({ params, principal, context }) => {
        const file = await getFile(sql, params.id, principal.authority.reach('read'));
        if (file.state !== 'ready')
          throw new AppError(
            'conflict',
            'The file is still being uploaded; download it once the upload is finished.',
          );
        return download(deps, file, context.req.header('range'), principal.userId);
      },
    }),
  ];
}

function uploads(deps: FileRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'POST',
      path: '/api/v1/files',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Begin the upload of a file',
      description:
        'Reserves the name: a file never changes, so different content needs a different name. Then send its bytes (`PUT …/content`) and finish it (`POST …/finish`). An upload that makes no progress for a day is discarded.',
      tag,
      body: CreateFileRequestSchema,
      example: { name: 'app-1.4.tar', size: 10_485_760, category: 'prod' },
      success: { status: 201, schema: StoredFileSchema },
      handle: (request) => createFile(deps, request.body, callerOf(request)),
    }),
    route({
      method: 'PUT',
      path: '/api/v1/files/:id/content',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Send the next bytes of a file',
      description: `Starts at \`offset\`, which must equal the file’s \`receivedBytes\`. Send a multiple of ${limits.contentPartBytes} bytes, at most ${limits.maxUploadBytes}, or everything up to the end of the file. If a request was not answered, get the file and continue at its \`receivedBytes\`.`,
      tag,
      params,
      query: UploadQuerySchema,
      takesBytes: true,
      maxBodyBytes: limits.maxUploadBytes,
      success: { status: 200, schema: StoredFileSchema },
      handle: (request) =>
        uploadBytes(
          deps,
          {
            id: request.params.id,
            offset: request.query.offset,
            bytes: request.body as unknown as Uint8Array,
          },
          callerOf(request),
        ),
    }),
    route({
      method: 'GET',
      path: '/api/v1/files/:id/received',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Get the SHA-256 of what has arrived of a file',
      description:
        'Compare it with the first `receivedBytes` of the file at hand before you continue an upload that somebody, or an earlier session, began. All of these bytes are read for it.',
      tag,
      params,
      success: { status: 200, schema: ReceivedContentSchema },
      handle: (request) => digestOfReceived(deps, request.params.id, callerOf(request)),
    }),
    route({
      method: 'POST',
      path: '/api/v1/files/:id/finish',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Finish the upload of a file, so that steps can use it',
      description:
        'The whole file is read again, and the answer has its SHA-256. If `sha256` is given and differs, the request is refused. It can be repeated safely.',
      tag,
      params,
      body: FinishFileRequestSchema,
      success: { status: 200, schema: StoredFileSchema },
      handle: (request) => finishFile(deps, request.params.id, request.body, callerOf(request)),
    }),
    route({
      method: 'DELETE',
      path: '/api/v1/files/:id',
      permission: 'jobs.edit',
      scoped: true,
      summary: 'Delete a file that no job uses, or an unfinished upload',
      tag,
      params,
      success: { status: 204 },
      handle: (request) => deleteFile(deps.sql, request.params.id, callerOf(request)),
    }),
  ];
}

function artifacts(deps: FileRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/runs/:id/artifacts',
      permission: 'read',
      scoped: true,
      summary: 'List the artifacts of a run',
      description: 'Only complete artifacts. They are kept as long as the run.',
      tag,
      params: Closed({ id: Id }),
      query: ArtifactQuerySchema,
      success: { status: 200, schema: Page(ArtifactSchema) },
      handle: async ({ params, query, principal }) => {
        await seeRun(deps.sql, params.id, principal.authority);
        return listArtifacts(deps, params.id, query, principal.authority.reach('read'));
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/runs/:id/artifacts/:artifact/content',
      permission: 'read',
      scoped: true,
      summary: 'Download an artifact',
      description: downloadDescription,
      tag,
      params: Closed({ id: Id, artifact: Type.String({ format: 'uuid' }) }),
      success: bytesOnly,
      handle: async ({ params, principal, context }) => {
        const ref = { runId: params.id, id: params.artifact };
        const artifact = await getArtifact(deps, ref, principal.authority.reach('read'));
        return download(deps, artifact, context.req.header('range'), principal.userId);
      },
    }),
  ];
}

async function download(
  { sql, masterKey }: FileRouteDeps,
  { id, name }: { id: string; name: string },
  range: string | undefined,
  userId: number,
): Promise<Response> {
  const content = await findContent(sql, id);
  if (content === undefined) throw notFound('File');
  return answerBytes(range, {
    length: content.size,
    headers: { ...attachmentHeaders(name), 'X-Content-SHA256': content.sha256 ?? '' },
    read: (bytes) => readInTurns(userId, readContent(sql, masterKey, content, bytes)),
  });
}
