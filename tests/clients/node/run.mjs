// Runs every flow of one client program against a server and prints one JSON object: {"vendor/flow": value | {error}}.
// usage: node run.mjs CLIENT BASE_URL KEY VENDOR...
const [client, baseURL, apiKey, ...vendors] = process.argv.slice(2);
const { flows } = await import(`./${client}.mjs`);

const results = {};
for (const vendor of vendors) {
  const run = flows({ baseURL, apiKey, model: `${vendor}/m1` });
  for (const [name, flow] of Object.entries(run)) {
    try {
      results[`${vendor}/${name}`] = await flow();
    } catch (error) {
      results[`${vendor}/${name}`] = { error: String(error?.stack ?? error) };
    }
  }
}
process.stdout.write(JSON.stringify(results));
process.exit(0); // some clients keep timers of their own alive
