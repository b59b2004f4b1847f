// Node with Express: npm install express && node express.js
import { randomUUID } from 'node:crypto'
import express from 'express'

const { RIACHO = 'http://127.0.0.1:4700', PORT = 3000 } = process.env

/** Where no answer came, it is sent again: the same key is the same event. */
async function publish(stream, event, type, key = randomUUID(), tries = 10) {
  const headers = { 'content-type': 'application/json', 'idempotency-key': key }
  const request = { method: 'POST', headers, body: JSON.stringify(event), signal: AbortSignal.timeout(10_000) }
  const answer = await fetch(`${RIACHO}/streams/${stream}?type=${type}`, request).catch((err) => err)
  if (answer.ok) return answer.json()
  if (answer.status < 500 || tries <= 1) throw new Error(answer.status ? await answer.text() : answer)
  await new Promise((again) => setTimeout(again, 1000))
  return publish(stream, event, type, key, tries - 1)
}

const orders = async (request, response) => response.status(201).json(await publish('orders', request.body, 'placed'))
express().use(express.json()).post('/orders', orders).listen(PORT, '127.0.0.1')
