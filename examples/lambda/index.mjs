// A function that a stream of DynamoDB triggers (Node 20 or later): hands its event to Riacho, and Riacho's answer to Lambda.
import { createHmac } from 'node:crypto'

const key = Buffer.from(process.env.RIACHO_SECRET.replace('whsec_', ''), 'base64')

export const handler = async (event) => {
  const body = JSON.stringify(event)
  // The same for each attempt with these records.
  const id = `${event.Records[0].eventID}-${event.Records.length}`
  const timestamp = String(Math.floor(Date.now() / 1000))
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
  const headers = { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': `v1,${signature}` }
  const answer = await fetch(process.env.RIACHO_URL, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
    signal: AbortSignal.timeout(25_000),
  })
  // Lambda then tries all of it again.
  if (!answer.ok) throw new Error(`Riacho answers ${answer.status}: ${await answer.text()}`)
  return answer.json()
}
