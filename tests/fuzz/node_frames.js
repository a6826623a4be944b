// How Node's parser frames requests: the same cases in and the same lines out as http_frames.c.
'use strict';

const { HTTPParser, methods } = process.binding('http_parser');

// One parser over one connection's bytes, until it refuses or they are used up.
function frame(input) {
  const found = { ok: true, fault: '', requests: [], closed: false };
  let rest = input;
  while (rest.length > 0) {
    const parser = new HTTPParser();
    let current = null;
    let closing = false;
    let upgrade = false;
    let flushedUrl = '';
    parser.initialize(HTTPParser.REQUEST, {});
    parser[HTTPParser.kOnHeaders | 0] = (headers, url) => { flushedUrl += url; }; // heads with many fields come in parts
    parser[HTTPParser.kOnHeadersComplete | 0] = (major, minor, headers, method, url, status, text, wantsUpgrade, keep) => {
      current = { method: methods[method], target: url === undefined ? flushedUrl : url, body: [] };
      closing = !keep;
      upgrade = wantsUpgrade;
      return 0;
    };
    parser[HTTPParser.kOnBody | 0] = (chunk, offset, length) => {
      const part = offset === undefined ? chunk : chunk.slice(offset, offset + length);
      current.body.push(Buffer.from(part));
    };
    parser[HTTPParser.kOnMessageComplete | 0] = () => {
      found.requests.push({
        method: current.method, target: current.target, body_hex: Buffer.concat(current.body).toString('hex'),
      });
      found.closed = closing;
      current = null;
      flushedUrl = ''; // trailers flush it once more
    };
    const used = parser.execute(rest);
    if (used instanceof Error) {
      found.ok = false;
      found.fault = `${used.code} ${used.reason}`;
      break;
    }
    // It stops behind a message that asks for an upgrade, which a server that has none answers as any other.
    if (!upgrade || used >= rest.length || used === 0) break;
    rest = rest.slice(used);
  }
  return found;
}

const chunks = [];
process.stdin.on('data', (chunk) => chunks.push(chunk));
process.stdin.on('end', () => {
  const all = Buffer.concat(chunks);
  const lines = [];
  for (let at = 0; at + 4 <= all.length;) {
    const length = all.readUInt32BE(at);
    lines.push(JSON.stringify(frame(all.slice(at + 4, at + 4 + length))));
    at += 4 + length;
  }
  process.stdout.write(lines.join('\n') + '\n');
});
