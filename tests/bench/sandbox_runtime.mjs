// The TLS-terminating proxy of the npm package sandbox-runtime, for tests/bench/proxy.py: it scans nothing.
// node sandbox_runtime.mjs PACKAGE_FOLDER UPSTREAM_CA_FILE -> prints "PORT CA_FILE"
import { readFileSync } from "node:fs";
import { join } from "node:path";

const [folder, upstreamCA] = process.argv.slice(2);
const { createHttpProxyServer } = await import(join(folder, "dist/sandbox/http-proxy.js"));
const { createMitmCA } = await import(join(folder, "dist/sandbox/mitm-ca.js"));
const mitmCA = createMitmCA({});
const server = createHttpProxyServer({
  filter: () => true,
  mitmCA,
  filterRequest: () => ({ action: "allow" }),
  tlsTerminateUpstreamCA: readFileSync(upstreamCA),
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port, mitmCA.certPath));
