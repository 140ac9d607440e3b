// Stands for a server process that can be killed: starts the database named by its argument, tells, and stays.
import { startEmbeddedPostgres } from '../embedded-postgres.ts';

const options = JSON.parse(process.argv[2] ?? '{}');
const database = await startEmbeddedPostgres({ ...options, log: (message) => console.error(message) });
// Before it tells: whoever hears it may end it at once.
process.once('SIGTERM', () => void database.stop());
console.log(JSON.stringify({ url: database.url, adopted: database.adopted, pid: database.pid }));
