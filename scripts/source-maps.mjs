// Imported before the server: errors name lines of the sources. Not by node's flag, for which newer versions read all
// maps whenever somebody asks for their callers, as the log does once: 160 ms, and 40 MB for as long as the server runs.
process.setSourceMapsEnabled(true);
