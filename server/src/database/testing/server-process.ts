// Stands for a server process that can be killed: starts the database of its argument, reports it, and stays.
import { startEmbeddedPostgres } from '../embedded-postgres.ts';

const options = JSON.parse(process.argv[2] ?? '{}');
const database = await startEmbeddedPostgres({ ...options, log: (message) => console.error(message) });
// Before reporting, because whoever receives the report may end the process at once.
process.once('SIGTERM', () => void database.stop());
console.log(JSON.stringify({ url: database.url, adopted: database.adopted, pid: database.pid }));
