// The orders API: a table of DynamoDB over HTTP, and the page of the panel. All that it knows of live data is `pass`, which has
// Riacho answer what is asked of /tables/orders.

import { ConditionalCheckFailedException, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { DeleteCommand, DynamoDBDocumentClient, paginateScan, PutCommand, UpdateCommand } from "@aws-sdk/lib-dynamodb";
import { readFile } from "node:fs/promises";
import { createServer, request as ask } from "node:http";
import { join } from "node:path";
import { pipeline } from "node:stream";
import { json } from "node:stream/consumers";

const { PORT = "8080", RIACHO = "http://127.0.0.1:4700", TABLE = "orders" } = process.env;
const db = DynamoDBDocumentClient.from(new DynamoDBClient());
const STATES = ["open", "paid", "shipped", "cancelled"];
const PAGE = { "/": "index.html", "/panel.js": "panel.js", "/panel.css": "panel.css" };
const TYPES = { html: "text/html; charset=utf-8", js: "text/javascript", css: "text/css" };

class Refused extends Error {
  constructor(status, detail, more) {
    super(detail);
    Object.assign(this, { status, more });
  }
}

/** What may be asked: a method and a path, and what answers `[status, body]`. */
const ROUTES = [
  // What a page that polls would ask for every few seconds.
  ["GET", /^\/api\/orders$/, async () => {
    const orders = [];
    for await (const page of paginateScan({ client: db }, { TableName: TABLE, ConsistentRead: true })) orders.push(...page.Items);
    return [200, { orders }];
  }],
  ["POST", /^\/api\/orders$/, async (_, body) => {
    const order = { id: text(body.id, "id", 40), ...members(body), version: 1 };
    await change(new PutCommand({ TableName: TABLE, Item: order, ConditionExpression: "attribute_not_exists(id)" }), `there is an order ${order.id} already`);
    return [201, order];
  }],
  // Of an order at this version: nobody overwrites what they have not seen.
  ["PATCH", /^\/api\/orders\/([^/]+)$/, async (id, { version, ...body }) => {
    const set = Object.entries(members(body, Object.keys(body)));
    const answer = await change(new UpdateCommand({
      TableName: TABLE,
      Key: { id },
      UpdateExpression: `SET version = version + :one${set.map((_, i) => `, #${i} = :${i}`).join("")}`,
      ConditionExpression: "version = :version",
      ExpressionAttributeNames: set.length > 0 ? Object.fromEntries(set.map(([name], i) => [`#${i}`, name])) : undefined,
      ExpressionAttributeValues: { ":one": 1, ":version": whole(version, "version"), ...Object.fromEntries(set.map(([, value], i) => [`:${i}`, value])) },
      ReturnValues: "ALL_NEW",
    }));
    return [200, answer.Attributes];
  }],
  ["DELETE", /^\/api\/orders\/([^/]+)$/, async (id, { version }) => {
    await change(new DeleteCommand({
      TableName: TABLE,
      Key: { id },
      ConditionExpression: "version = :version",
      ExpressionAttributeValues: { ":version": whole(version, "version") },
    }));
    return [200, {}];
  }],
];

async function change(command, otherwise = "somebody else changed or deleted this order meanwhile") {
  command.input.ReturnValuesOnConditionCheckFailure = "ALL_OLD";
  return db.send(command).catch((err) => {
    throw err instanceof ConditionalCheckFailedException ? new Refused(409, otherwise) : err;
  });
}

const CHECKS = {
  customer: (value) => text(value, "customer", 100),
  item: (value) => text(value, "item", 100),
  quantity: (value) => whole(value, "quantity"),
  total: (value) => {
    if (typeof value === "number" && value >= 0 && value < 1e6) return Math.round(value * 100) / 100;
    throw new Refused(400, "total is an amount below 1000000");
  },
  status: (value) => {
    if (STATES.includes(value)) return value;
    throw new Refused(400, `status is one of ${STATES.join(", ")}`);
  },
};
function members(body, names = Object.keys(CHECKS)) {
  const unknown = names.find((name) => !Object.hasOwn(CHECKS, name));
  if (unknown) throw new Refused(400, `an order has no ${unknown}`);
  return Object.fromEntries(names.map((name) => [name, CHECKS[name](body[name])]));
}
function text(value, name, max) {
  if (typeof value === "string" && value.trim() !== "" && value.length <= max) return value.trim();
  throw new Refused(400, `${name} is a text of 1 to ${max} characters`);
}
function whole(value, name) {
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new Refused(400, `${name} is a whole number above 0`);
}

/** Hands a request on to Riacho, and its answer back as it comes. Here is where the API looks whether the session may see it. */
function pass(request, response) {
  // Sessions are the API's business: they go no further.
  const { cookie, authorization, connection, host, ...headers } = request.headers;
  const onward = ask(new URL(request.url, RIACHO), { method: request.method, headers }, (answer) => {
    const { connection, "keep-alive": _, ...headers } = answer.headers;
    response.writeHead(answer.statusCode, headers);
    response.flushHeaders();
    // Where Riacho breaks off the page sees the same, and connects anew.
    pipeline(answer, response, () => {});
  });
  onward.on("error", () => (response.headersSent ? response.destroy() : reply(response, 502, { detail: "Riacho gives no answer" })));
  response.on("close", () => onward.destroy());
  onward.end();
}

function reply(response, status, body) {
  response.writeHead(status, { "Content-Type": "application/json", "Cache-Control": "no-store" }).end(JSON.stringify(body));
}

async function answer(request, response) {
  const { pathname } = new URL(request.url, "http://api");
  const reads = request.method === "GET" || request.method === "HEAD";
  if (reads && (pathname === "/tables/orders" || pathname === "/riacho.js")) return pass(request, response);
  if (reads && Object.hasOwn(PAGE, pathname)) {
    const file = PAGE[pathname];
    response.writeHead(200, { "Content-Type": TYPES[file.split(".").at(-1)], "Content-Security-Policy": "default-src 'self'; img-src data:" });
    return response.end(await readFile(join(import.meta.dirname, "public", file)));
  }
  for (const [method, path, act] of ROUTES) {
    const found = request.method === method && path.exec(pathname);
    if (!found) continue;
    // Pages of other sites cannot send this type without asking first, and are not allowed to.
    if (method !== "GET" && request.headers["content-type"] !== "application/json") throw new Refused(415, "orders are sent as application/json");
    const body = method === "GET" ? {} : await json(request).catch(() => { throw new Refused(400, "this is no JSON"); });
    const [id, given] = found.length > 1 ? [decodeURIComponent(found[1]), body] : [null, body];
    return reply(response, ...(await act(id, given ?? {})));
  }
  throw new Refused(404, "there is nothing here");
}

const server = createServer((request, response) => {
  answer(request, response).catch((err) => {
    if (!(err instanceof Refused)) console.error(String(err));
    if (response.headersSent) return response.destroy();
    reply(response, err.status ?? 503, { detail: err instanceof Refused ? err.message : "the database gives no answer" });
  });
});
server.listen(Number(PORT), "127.0.0.1", () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(0));
