// What the routes of files on the server need.
import { type Case, changing, each, listing, type Needs, reading, sides } from './needs.ts';

const theFilesCategory = 'the file’s category';

export const fileNeeds: Record<string, Needs> = {
  'GET files': listing(theFilesCategory, ({ alfa, zeta }) => [
    { text: '"alfa-file"', seen: [alfa.category] },
    { text: '"zeta-file"', seen: [zeta.category] },
  ]),
  'POST files': {
    permission: 'jobs.edit',
    on: 'the category',
    // The names are taken; that is checked last, after the rights.
    cases: (world) =>
      sides(world).map(
        (side): Case => ({
          path: '',
          json: { name: 'alfa-file', size: 1, category: `${side.name} jobs` },
          reads: [each(side.category)],
          needs: [['jobs.edit', each(side.category)]],
          unseen: 400,
        }),
      ),
  },
  'GET files/:id': reading(theFilesCategory, (side) => ({ path: side.fileId, place: side.category })),
  'GET files/:id/uses': reading('the file’s category; shows the jobs that are seen', (side) => ({
    path: `${side.fileId}/uses`,
    place: side.category,
  })),
  'GET files/:id/content': reading(theFilesCategory, (side) => ({
    path: `${side.fileId}/content`,
    place: side.category,
  })),
  'PUT files/:id/content': changing('jobs.edit', theFilesCategory, (side) => ({
    path: `${side.fileId}/content?offset=0`,
    contentType: 'application/octet-stream',
    place: side.category,
  })),
  'GET files/:id/received': changing('jobs.edit', theFilesCategory, (side) => ({
    path: `${side.fileId}/received`,
    place: side.category,
  })),
  'POST files/:id/finish': changing('jobs.edit', theFilesCategory, (side) => ({
    path: `${side.fileId}/finish`,
    place: side.category,
  })),
  // A job refers to the file, so that it is not deleted.
  'DELETE files/:id': changing('jobs.edit', theFilesCategory, (side) => ({
    path: side.fileId,
    place: side.category,
  })),
};
