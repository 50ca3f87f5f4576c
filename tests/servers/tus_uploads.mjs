// Uploads files with tus-js-client as a JSON document on standard input says, and tells how each ended.
import { readFileSync, createReadStream } from "node:fs";
import { PassThrough } from "node:stream";
import { Upload } from "tus-js-client";

const asked = JSON.parse(readFileSync(0, "utf8"));

function one({ path, metadata = {}, headers = {}, options = {}, stream = false, abortAfter = null }) {
  return new Promise((resolve) => {
    const requests = [];
    let media = null;
    const source = stream ? createReadStream(path).pipe(new PassThrough()) : readFileSync(path);
    const upload = new Upload(source, {
      endpoint: asked.endpoint,
      metadata,
      headers: { ...asked.headers, ...headers },
      retryDelays: Array(asked.retries ?? 3).fill(asked.delay ?? 100),
      ...options,
      onBeforeRequest: (request) => requests.push(request.getMethod()),
      onAfterResponse: (request, response) => {
        media = response.getHeader("Chipmunk-Media") ?? media;
        requests[requests.length - 1] += ` ${response.getStatus()}`;
      },
      onProgress: async (sent) => {
        if (abortAfter !== null && sent >= abortAfter) {
          abortAfter = null;
          await upload.abort(true);
          resolve({ url: upload.url, aborted: true, requests });
        }
      },
      onSuccess: () => resolve({ url: upload.url, media, requests }),
      onError: (error) => resolve({
        url: upload.url, error: error.message, status: error.originalResponse?.getStatus() ?? 0,
        body: error.originalResponse?.getBody() ?? "", requests,
      }),
    });
    upload.start();
  });
}

const found = Array(asked.uploads.length);
let next = 0;
async function work() {
  while (next < found.length) {
    const number = next++;
    found[number] = await one(asked.uploads[number]);
  }
}
await Promise.all(Array.from({ length: asked.atOnce }, work));
process.stdout.write(JSON.stringify(found), () => process.exit(0));
