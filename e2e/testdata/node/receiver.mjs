// A receiver that verifies each request with the official library, answers 204 or 400, and counts.
//
//   SECRET=whsec_… node receiver.mjs FOLDER-WITH-NODE_MODULES
//
// It listens on a free port of 127.0.0.1, which it prints. GET answers with the counts. It ends when its standard input does.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const { Webhook } = createRequire(join(process.argv[2], "package.json"))("standardwebhooks");
const webhook = new Webhook(process.env.SECRET);
const counts = { verified: 0, refused: 0, reason: "" };

const server = createServer((request, response) => {
  if (request.method === "GET") {
    response.end(JSON.stringify(counts));
    return;
  }
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    try {
      webhook.verify(Buffer.concat(chunks), request.headers);
      counts.verified++;
      response.writeHead(204).end();
    } catch (error) {
      counts.refused++;
      counts.reason ||= String(error);
      response.writeHead(400).end();
    }
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
