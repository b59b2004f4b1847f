// Makes the table with its stream, and some orders, where they are not there. For an emulator, or a table to try it with.

import { CreateTableCommand, DescribeTableCommand, DynamoDBClient, ResourceNotFoundException, waitUntilTableExists } from "@aws-sdk/client-dynamodb";
import { BatchWriteCommand, DynamoDBDocumentClient } from "@aws-sdk/lib-dynamodb";

const { TABLE = "orders", ORDERS = "40" } = process.env;
const CUSTOMERS = ["Ana Sousa", "Bruno Lima", "Carla Reis", "Diogo Alves", "Elena Costa", "Filipe Nunes", "Greta Maier", "Hugo Pinto"];
const ITEMS = [["mug", 14.5], ["desk lamp", 64], ["oak shelf", 129], ["wool blanket", 89.9], ["teapot", 38], ["cutting board", 27.5]];
const STATES = ["open", "open", "paid", "shipped", "shipped", "cancelled"];

const client = new DynamoDBClient();
const described = await client.send(new DescribeTableCommand({ TableName: TABLE })).catch((err) => {
  if (err instanceof ResourceNotFoundException) return null;
  throw err;
});
if (described) {
  console.log(`the table ${TABLE} is there already`);
  process.exit(0);
}
await client.send(new CreateTableCommand({
  TableName: TABLE,
  BillingMode: "PAY_PER_REQUEST",
  KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
  AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
  StreamSpecification: { StreamEnabled: true, StreamViewType: "NEW_AND_OLD_IMAGES" },
}));
await waitUntilTableExists({ client, maxWaitTime: 120, minDelay: 1 }, { TableName: TABLE });

const orders = Array.from({ length: Number(ORDERS) }, (_, i) => {
  const [item, price] = ITEMS[(i * 7 + 3) % ITEMS.length];
  const quantity = 1 + ((i * 5) % 4);
  const total = Math.round(price * quantity * 100) / 100;
  return { id: `A-${1001 + i}`, customer: CUSTOMERS[(i * 3) % CUSTOMERS.length], item, quantity, total, status: STATES[(i * 5) % STATES.length], version: 1 };
});
const db = DynamoDBDocumentClient.from(client);
for (let i = 0; i < orders.length; i += 25) {
  let left = { [TABLE]: orders.slice(i, i + 25).map((Item) => ({ PutRequest: { Item } })) };
  while (Object.keys(left ?? {}).length > 0) left = (await db.send(new BatchWriteCommand({ RequestItems: left }))).UnprocessedItems;
}
console.log(`made the table ${TABLE} with ${orders.length} orders`);
