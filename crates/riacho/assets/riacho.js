// src/error.ts
var RiachoError = class extends Error {
  /**
   * The server's code (`from_invalid`, `row_exists`, …), or one of the client's own: `network`, `silent` (nothing came in
   * time), `drain` (the server restarts), `http` (an answer that is not the server's, such as a proxy's 502), `protocol`
   * (a body that makes no sense), `unfit` (a transport that does not work here), `key_invalid`; and where it ended: `closed`
   * (`close()`), `aborted` (`signal`), `stream_closed`.
   */
  code;
  /** Whether trying again can help. */
  retry;
  constructor(code, message, retry = true, cause) {
    super(message, { cause });
    this.name = "RiachoError";
    this.code = code;
    this.retry = retry;
  }
};
var ProblemError = class extends RiachoError {
  status;
  /** All members of the answer. */
  problem;
  constructor(status, problem) {
    super(problem.code, problem.detail, problem.retry);
    this.status = status;
    this.problem = problem;
  }
};

// src/parse.ts
var parser = (sink) => {
  const decoder = new TextDecoder();
  let rest = "";
  let cr = false;
  let data = [];
  let size = 0;
  let type = "";
  let id = "";
  const parseLine = (line) => {
    const [, name, value = ""] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
    if (!line) {
      if (data.length) sink.event({ type: type || "message", data: data.join("\n"), id });
      else sink.block?.(id);
      data = [];
      size = 0;
      type = "";
    } else if (name === "data") {
      size += value.length + 1;
      data.push(value);
    } else if (name === "event") type = value;
    else if (name === "id" && !value.includes("\0")) id = value;
    else if (name === "retry" && /^[0-9]+$/.test(value)) sink.retry?.(+value);
  };
  return (chunk) => {
    let text = decoder.decode(chunk, { stream: true });
    if (!text) return;
    if (cr && text[0] === "\n") text = text.slice(1);
    cr = text.endsWith("\r");
    const lines = text.split(/\r\n?|\n/);
    lines[0] = rest + (lines[0] ?? "");
    rest = lines.pop() ?? "";
    lines.forEach(parseLine);
    if (size + rest.length > EVENT_CHARS_MAX) throw new RangeError("an event is too large");
  };
};
var EVENT_CHARS_MAX = 6 * 2 ** 26;

// src/state.ts
function step(state, event) {
  return TABLE[state.place][event.on](state, event);
}
var stay = (state) => [state, []];
var used = (state) => state.order[state.index] ?? "fetch";
var to = (place, ...effects) => (state) => [{ ...state, place }, effects];
var connect = (state) => [
  { ...state, place: "connecting" },
  [["connect", used(state)], ["watch", "head"]]
];
var lost = (state, { error }) => [
  { ...state, place: "waiting", failures: state.failures + 1 },
  [["disconnect"], ["say", error], ["wait", state]]
];
var refused = (state, { error }) => [
  { ...state, place: "closed" },
  [["disconnect"], ["say", error]]
];
var demote = (state, { error }) => {
  const index = state.index + 1;
  if (index >= state.order.length) return lost({ ...state, index: 0 }, { error });
  const [next, effects] = connect({ ...state, index });
  return [next, [["say", error], ...effects]];
};
var offline = to("offline", ["disconnect"]);
var pause = to("paused", ["disconnect"]);
var reorder = (again) => (state, { order }) => {
  const index = order.indexOf(used(state));
  return index < 0 ? again({ ...state, order, index: 0 }) : [{ ...state, order, index }, []];
};
var nothing = {
  start: stay,
  head: stay,
  opened: stay,
  lost: stay,
  refused,
  silent: stay,
  unfit: stay,
  due: stay,
  healthy: stay,
  better: stay,
  online: stay,
  offline: stay,
  wake: stay,
  pause: stay,
  resume: stay,
  order: reorder(stay)
};
var TABLE = {
  idle: { ...nothing, start: (state, { online, index }) => (online ? connect : offline)({ ...state, index }) },
  connecting: {
    ...nothing,
    head: (state) => [state, [["watch", "first"]]],
    opened: to("open", ["watch", "silence"], ["alarm", "healthy"], ["say"]),
    lost,
    unfit: demote,
    offline,
    pause,
    wake: connect,
    order: reorder(connect)
  },
  open: {
    ...nothing,
    lost,
    unfit: demote,
    offline,
    pause,
    wake: connect,
    order: reorder(connect),
    silent: (state) => [state, [["probe"]]],
    healthy: (state) => [
      { ...state, failures: 0 },
      [["remember", used(state)], ...state.index > 0 ? [["alarm", "better"]] : []]
    ],
    better: (state) => connect({ ...state, index: 0 })
  },
  waiting: { ...nothing, due: connect, online: connect, wake: connect, offline, pause },
  offline: { ...nothing, online: connect, pause },
  paused: { ...nothing, resume: connect },
  closed: { ...nothing, refused: stay, order: stay }
};

// src/connect.ts
var requests = (url, options, world = globalThis) => ({
  url: new URL(url, world.location?.href),
  /**
   * Asks, and gives the answer where it is a success of the type `accept`.
   *
   * @throws RiachoError with the server's code, `stream_closed` for 204, `http` for what is not the server's, `network`
   */
  ask: async (url2, accept, init = {}) => {
    const { headers, signal = null, withCredentials, fetch = world.fetch.bind(world) } = options;
    let response;
    try {
      const own = typeof headers === "function" ? await headers() : headers;
      const credentials = withCredentials ? "include" : "same-origin";
      response = await fetch(url2, { cache: "no-store", credentials, signal, ...init, headers: { ...own, accept, ...init.headers } });
    } catch (cause) {
      throw new RiachoError("network", "no answer", true, cause);
    }
    const { status } = response;
    const type = response.headers.get("content-type") ?? "";
    if (response.ok && type.startsWith(accept)) return response;
    if (status === 204) throw new RiachoError("stream_closed", "the stream is closed", false);
    const problem = await response.json().catch(() => 0);
    if (problem?.code) throw new ProblemError(status, problem);
    throw new RiachoError("http", `${status} ${type}`, !/^4(?!08|25|29)/.test(`${status}`));
  }
});
var connection = ({ url, ask }, options, sink, world = globalThis) => {
  const timing = { ...TIMING, ...options.timing };
  const timers = {};
  const now = () => world.Date.now();
  const events = [];
  let session = new AbortController();
  let source;
  let alive = 0;
  let beaten = false;
  let probing = false;
  let retry;
  const ended = new AbortController();
  const order = (native2) => options.transport ?? (native2 && !options.headers && !options.fetch ? ALL : ALL.slice(1));
  let state = { place: "idle", order: order(world.EventSource), index: 0, failures: 0 };
  const tell = (event) => {
    if (events.push(event) > 1) return;
    for (let next; next = events[0]; events.shift()) {
      const [after, effects] = step(state, next);
      state = after;
      effects.forEach(act);
    }
  };
  const act = (effect) => {
    switch (effect[0]) {
      case "connect":
        disconnect();
        connect2(effect[1]);
        break;
      case "disconnect":
        disconnect();
        break;
      case "watch":
        watch(timing[effect[1]]);
        break;
      case "wait": {
        const span = Math.min(timing.cap, (options.reconnectionTime ?? 1e3) * 2 ** effect[1].failures);
        const ms = Math.max(retry ?? timing.floor, world.Math.random() * span);
        later("wait", ms, () => tell({ on: "due" }));
        break;
      }
      case "probe":
        probe(session.signal).catch(fail(session.signal));
        break;
      case "alarm":
        later("alarm", timing[effect[1]], () => tell({ on: effect[1] }));
        break;
      case "remember":
        remembered.set(url.origin, [effect[1], now()]);
        break;
      case "say":
        if (state.place === "closed") ended.abort();
        sink.changed(state.place, effect[1]);
    }
  };
  const later = (name, ms = 0, act2) => {
    world.clearTimeout(timers[name]);
    timers[name] = act2 && world.setTimeout(act2, ms);
  };
  const disconnect = () => {
    session.abort();
    source?.close();
    source = void 0;
    later("watch");
    later("wait");
    later("alarm");
  };
  const watch = (patience) => {
    alive = now();
    const look = () => {
      const left = alive + patience - now();
      if (left > 0) later("watch", Math.min(left, LOOK), look);
      else if (state.place === "open" && source && !probing) tell({ on: "silent" });
      else if (left < -LOOK) tell({ on: "wake" });
      else tell({ on: beaten || probing ? "lost" : "unfit", error: new RiachoError("silent", "nothing came in time") });
    };
    look();
  };
  const connect2 = (transport) => {
    const { signal } = session = new AbortController();
    beaten = probing = false;
    sink.begin?.();
    const by = { eventsource: native, fetch: read, "long-poll": poll };
    by[transport](signal).catch(fail(signal));
  };
  const fail = (signal) => (err) => {
    if (signal.aborted) return;
    const error = err instanceof RiachoError ? err : new RiachoError("protocol", `${err}`, true, err);
    tell({ on: error.code === "unfit" ? "unfit" : error.retry ? "lost" : "refused", error });
  };
  const from = () => {
    const target = new URL(url);
    sink.select(target.searchParams);
    if (sink.cursor) target.searchParams.set("last_event_id", sink.cursor);
    return target;
  };
  const came = () => {
    alive = now();
    if (state.place === "connecting") tell({ on: "opened" });
    else beaten = true;
  };
  const take = (type, body, id) => {
    if (type !== GOODBYE) return sink.event(type, body, id);
    if (id) sink.mark(id);
    retry = body.retry_ms;
    throw new RiachoError("drain", "the server restarts");
  };
  const read = async (signal, first) => {
    const { body } = await ask(from(), EVENT_STREAM, { signal });
    signal.throwIfAborted();
    tell({ on: "head" });
    const reader = body?.getReader();
    let over = false;
    const found = (then) => {
      if (over || signal.aborted) return;
      over = !!first;
      if (!first) came();
      then();
    };
    const push = parser({
      event: ({ type, data, id }) => found(() => first || take(type, JSON.parse(data), id)),
      block: (id) => found(() => id && sink.mark(id)),
      retry: (ms) => {
        retry = ms;
      }
    });
    while (!over) {
      const { value } = await reader?.read() ?? {};
      signal.throwIfAborted();
      if (!value) throw new RiachoError("network", "the connection ended");
      alive = now();
      push(value);
    }
    drop(reader);
  };
  const native = async (signal) => {
    if (retry === void 0 || !(sink.cursor || sink.snapshot)) {
      await read(signal, true);
      signal.throwIfAborted();
      watch(timing.head);
    }
    const target = from();
    const opened = source = new world.EventSource(target, options);
    opened.onopen = came;
    opened.onerror = () => {
      const fatal = opened.readyState > 1;
      opened.close();
      const why = async () => {
        if (!fatal) throw new RiachoError("network", "the connection ended");
        drop((await ask(target, EVENT_STREAM, { signal })).body);
        throw new RiachoError("unfit", "fetch is given what EventSource is not");
      };
      why().catch(fail(signal));
    };
    for (const type of [...sink.types(), GOODBYE]) listen(type);
  };
  const listen = (type) => source?.addEventListener(type, heard);
  const heard = ({ target, type, data, lastEventId }) => {
    if (target !== source) return;
    came();
    try {
      take(type, JSON.parse(data), lastEventId);
    } catch (err) {
      fail(session.signal)(err);
    }
  };
  const page = async (target, signal) => {
    const body = await (await ask(target, "application/json", { signal })).json();
    signal.throwIfAborted();
    return body;
  };
  const poll = async (signal) => {
    for (let first = true; ; first = false) {
      const { cursor, snapshot } = sink;
      const target = from();
      const began = now();
      const wait = cursor && !first ? timing.poll : 0;
      if (wait) target.searchParams.set("wait", `${wait}ms`);
      watch(wait + timing.head);
      const got = await page(target, signal);
      came();
      if (!cursor && snapshot) {
        snapshot(got);
        continue;
      }
      for (const event of got.events) {
        const type = typeOf(event);
        take(type, type.startsWith(OWN) ? event.data : event, event.id ?? "");
        signal.throwIfAborted();
      }
      sink.mark(got.cursor);
      if (!got.events.length && now() - began < wait / 2) throw new RiachoError("drain", "the server restarts");
    }
  };
  const probe = async (signal) => {
    const { cursor } = sink;
    probing = true;
    watch(timing.head);
    const { events: events2, cursor: after } = await page(from(), signal);
    probing = false;
    watch(timing.silence);
    if (cursor !== sink.cursor) return;
    if (events2.some((event) => [...sink.types()].includes(typeOf(event)))) throw new RiachoError("unfit", "events did not come");
    sink.mark(after);
  };
  const sign = ({ type, persisted }) => {
    if (type === "abort") close(new RiachoError("aborted", "its signal was aborted", false));
    else if (type !== "pageshow") tell({ on: type });
    else if (persisted) tell({ on: "wake" });
  };
  const close = (error) => tell({ on: "refused", error });
  return {
    state: () => state,
    tell,
    close,
    start: () => {
      if (state.place !== "idle") return;
      const [transport, at] = remembered.get(url.origin) ?? [];
      const known = at && now() - at < timing.better ? state.order.indexOf(transport) : 0;
      for (const type of ["online", "offline", "pageshow"]) world.addEventListener?.(type, sign, ended);
      options.signal?.addEventListener("abort", sign, ended);
      if (options.signal?.aborted) sign({ type: "abort" });
      tell({ on: "start", online: world.navigator?.onLine !== false, index: Math.max(known, 0) });
    },
    /** One more type is wanted, or all types, which an EventSource cannot give. */
    want: (type) => type ? listen(type) : tell({ on: "order", order: order(0) })
  };
};
var drop = (body) => void body?.cancel().catch(() => void 0);
var typeOf = ({ headers, type }) => !headers && type || "message";
var remembered = /* @__PURE__ */ new Map();
var TIMING = {
  head: 1e4,
  first: 5e3,
  silence: 45e3,
  healthy: 1e4,
  better: 12e4,
  poll: 25e3,
  floor: 100,
  cap: 3e4
};
var ALL = ["eventsource", "fetch", "long-poll"];
var EVENT_STREAM = "text/event-stream";
var OWN = "riacho.";
var GOODBYE = "riacho.goodbye";
var LOOK = 5e3;

// src/live.ts
var Live = class {
  /** The way to the server is open: for the first time, or again. */
  onopen = null;
  /** It was lost and will be tried again. */
  onerror = null;
  /** It ended for good. */
  onclose = null;
  /** Why it ended; undefined until then. */
  error;
  requests;
  sink;
  #connection;
  #queues = /* @__PURE__ */ new Set();
  #starting = false;
  constructor(url, options, sink) {
    this.sink = Object.assign(sink, { changed: (place, error) => this.#changed(place, error) });
    this.requests = requests(url, options);
    this.#connection = connection(this.requests, options, this.sink);
  }
  get #state() {
    return this.#connection.state();
  }
  /** Where the connection is. */
  get state() {
    return this.#state.place;
  }
  /** The transport that is used, or will be next. */
  get transport() {
    return this.#state.order[this.#state.index];
  }
  /** Everything up to here was given to the readers; empty as long as there is no such place. */
  get cursor() {
    return this.sink.cursor;
  }
  close() {
    this.#connection.close(new RiachoError("closed", "it was closed", false));
  }
  /** Connects in a moment, so that all readers of this turn see what comes first. One of them may want a type, or all. */
  start(want) {
    if (want) this.#connection.want(want === true ? void 0 : want);
    if (this.#starting) return;
    this.#starting = true;
    queueMicrotask(() => this.#connection.start());
  }
  /** For each `for await`. */
  push(item) {
    for (const queue of this.#queues) {
      if (queue.items.push(item) >= QUEUE_MAX) this.#connection.tell({ on: "pause" });
      queue.wake?.();
    }
  }
  /** What is pushed from now on. It ends where this is closed, and throws where it cannot go on. */
  read() {
    const queue = { items: [] };
    this.#queues.add(queue);
    return this.#drain(queue);
  }
  async *#drain(queue) {
    try {
      for (; ; ) {
        const had = queue.items.splice(0);
        if (had.length) {
          yield* had;
          this.#resume();
        } else if (!this.error) await new Promise((wake) => queue.wake = wake);
        else if (ENDS.includes(this.error.code)) return;
        else throw this.error;
      }
    } finally {
      this.#queues.delete(queue);
      this.#resume();
    }
  }
  #resume() {
    if ([...this.#queues].every(({ items }) => items.length < QUEUE_MAX)) this.#connection.tell({ on: "resume" });
  }
  #changed(place, error) {
    if (!error) call(this.onopen);
    else if (place !== "closed") call(this.onerror, error);
    else {
      this.ended(error);
      for (const { wake } of this.#queues) wake?.();
      call(this.onclose, error);
    }
  }
  ended(error) {
    this.error = error;
  }
};
var call = (listener, ...args) => {
  try {
    listener?.(...args);
  } catch (err) {
    queueMicrotask(() => {
      throw err;
    });
  }
};
var QUEUE_MAX = 1e3;
var ENDS = ["closed", "aborted", "stream_closed"];
var MESSAGE = "message";
var RESET = "riacho.reset";

// src/stream.ts
var stream = (url, options = {}) => new Stream(url, options);
var Stream = class extends Live {
  #listeners;
  constructor(url, { from, tail, ...options }) {
    const listeners = new Map([MESSAGE, RESET].map((type) => [type, /* @__PURE__ */ new Set()]));
    super(url, options, {
      cursor: "",
      types: () => listeners.keys(),
      select: (params) => {
        params.set("envelope", "1");
        if (from !== void 0) params.set("from", from);
        if (tail !== void 0) params.set("tail", `${tail}`);
      },
      event: (type, body, id) => this.#event(type, body, id),
      mark: (id) => {
        this.sink.cursor = id;
      }
    });
    this.#listeners = listeners;
  }
  on(type, listener) {
    const known = this.#listeners.get(type);
    const listeners = known ?? /* @__PURE__ */ new Set();
    this.#listeners.set(type, listeners.add(listener));
    this.start(known ? void 0 : type);
    return () => void listeners.delete(listener);
  }
  /** All events of all types, and `riacho.reset`. It ends when the stream is closed, and throws where it cannot go on. */
  [Symbol.asyncIterator]() {
    this.start(true);
    return this.read();
  }
  #event(type, body, id) {
    this.sink.cursor = id;
    const own = type.startsWith(OWN);
    if (own && type !== RESET) return;
    const { data, stream: stream2 } = own ? { data: body, stream: "" } : body;
    const event = { id, type, data, stream: stream2 };
    for (const listener of this.#listeners.get(type) ?? []) call(listener, event);
    this.push(event);
  }
};

// src/rows.ts
var Rows = class {
  /** As of the last complete group. */
  map = /* @__PURE__ */ new Map();
  /** A snapshot was complete. */
  ready = false;
  /** Messages of the group that is not complete. */
  #group = [];
  #snapshot = false;
  /** Whether a group has begun and is not complete. */
  get pending() {
    return this.#snapshot || this.#group.length > 0;
  }
  /** Drops what is not complete: it will come again. */
  begin() {
    this.#group = [];
    this.#snapshot = false;
  }
  /**
   * Takes a message, and returns the changes of the group where it completes one.
   *
   * That is told by the message alone, not by its `id`: of a native EventSource nobody sees whether a message had one, since
   * heartbeats move the last id.
   */
  take(message) {
    const { control, txid, last } = message.headers;
    if (control === "snapshot-start") {
      this.begin();
      this.#snapshot = true;
      return;
    }
    if (control === "snapshot-end") return this.#snapshot ? this.#replace() : void 0;
    if (control || message.key === void 0) return;
    this.#group.push(message);
    if (this.#snapshot || txid !== void 0 && !last) return;
    const group = this.#group;
    this.#group = [];
    return group.flatMap((message2) => this.#apply(message2));
  }
  /** The rows are these: what differs is applied at once, and what is equal stays the same object. */
  replace(rows) {
    const gone = new Set(this.map.keys());
    const changes = [];
    for (const { key, value } of rows) {
      if (key === void 0) continue;
      gone.delete(key);
      if (this.map.has(key) && same(this.map.get(key), value)) continue;
      changes.push(...this.#apply({ key, value, headers: { operation: "update" } }));
    }
    for (const key of gone) changes.push(...this.#apply({ key, headers: { operation: "delete" } }));
    this.ready = true;
    return changes;
  }
  #replace() {
    const group = this.#group;
    this.begin();
    return this.replace(group);
  }
  /** `insert` and `update` both say what the row is now; to delete what is not there is nothing. */
  #apply({ key = "", value, headers }) {
    const had = this.map.has(key);
    const old = this.map.get(key);
    if (headers.operation === "delete") {
      this.map.delete(key);
      return had ? [{ operation: "delete", key, old }] : [];
    }
    this.map.set(key, value);
    return [had ? { operation: "update", key, value, old } : { operation: "insert", key, value }];
  }
};
var same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// src/table.ts
var table = (url, options = {}) => new Table(url, options);
var Table = class extends Live {
  #rows = new Rows();
  #subscribers = /* @__PURE__ */ new Set();
  #ready;
  #settle;
  constructor(url, options) {
    super(url, options, {
      cursor: "",
      types: () => [MESSAGE, RESET],
      select: (params) => select(params, options),
      begin: () => this.#rows.begin(),
      event: (type, body, id) => this.#event(type, body, id),
      mark: (id) => {
        if (this.cursor && !this.#rows.pending) this.sink.cursor = id;
      },
      snapshot: (body) => {
        const { rows, cursor } = body;
        const first = !this.#rows.ready;
        this.sink.cursor = cursor;
        this.#applied(this.#rows.replace(rows), first);
      }
    });
  }
  /** The rows by key, as of the last complete transaction: always the same map. */
  get rows() {
    this.start();
    return this.#rows.map;
  }
  /** Fulfilled when the rows are here for the first time; rejected where it ends before. */
  get ready() {
    this.start();
    this.#ready ??= new Promise((resolve, reject) => {
      if (this.#rows.ready) resolve(this);
      else if (this.error) reject(this.error);
      else this.#settle = [resolve, reject];
    });
    return this.#ready;
  }
  /** The row with this key. */
  get(key) {
    return this.rows.get(key);
  }
  /** Calls `subscriber` after each group; at once, and without changes, if there are rows already. What is returned ends it. */
  subscribe(subscriber) {
    this.#subscribers.add(subscriber);
    this.start();
    if (this.#rows.ready) call(subscriber, this.#rows.map, []);
    return () => void this.#subscribers.delete(subscriber);
  }
  /** Each group of changes from now on; with the first rows as inserts, if they are not here yet. */
  changes() {
    this.start();
    return this.read();
  }
  /** Adds a row. @throws ProblemError `row_exists` where there is one with this key */
  insert(key, value) {
    return this.#write("POST", "", [{ key, value, headers: { operation: "insert" } }]);
  }
  /**
   * Changes members of a row: a JSON merge patch (`null` takes a member away), or a function from the row to the new row. The
   * function is called again where somebody else changed the row meanwhile, and must not change what it is given.
   *
   * @throws ProblemError `row_unknown` where there is no such row, `condition_failed` where others were faster ten times
   */
  async update(key, change) {
    if (typeof change !== "function") return this.#write("PATCH", key, change);
    for (let left = UPDATES_MAX; ; left--) {
      const answer = await this.#ask("GET", key);
      const row = change(await answer.json());
      try {
        return await this.#write("PUT", key, row, { "if-match": answer.headers.get("etag") ?? "*" });
      } catch (err) {
        if (err.code !== "condition_failed" || left <= 1) throw err;
      }
    }
  }
  /** Takes a row away. @throws ProblemError `row_unknown` where there is none */
  delete(key) {
    return this.#write("DELETE", key);
  }
  async #write(method, key, body, headers) {
    const answer = await this.#ask(method, key, body, headers);
    return { cursor: (await answer.json()).cursor };
  }
  async #ask(method, key, body, headers) {
    if (key === "." || key === "..") throw new RiachoError("key_invalid", `\`${key}\` cannot be in a URL`, false);
    const url = new URL(this.requests.url);
    url.search = "";
    if (key) url.pathname += `/${encodeURIComponent(key)}`;
    const json = body !== void 0 && { body: JSON.stringify(body), headers: { "content-type": JSON_TYPE, ...headers } };
    return this.requests.ask(url, JSON_TYPE, { method, ...json });
  }
  #event(type, body, id) {
    if (type === RESET) {
      this.#rows.begin();
      this.sink.cursor = "";
    }
    if (type.startsWith(OWN)) return;
    const first = !this.#rows.ready;
    const changes = this.#rows.take(body);
    if (!changes) return;
    this.sink.cursor = id;
    this.#applied(changes, first);
  }
  #applied(changes, first) {
    if (first) this.#settle?.[0](this);
    if (!first && !changes.length) return;
    for (const subscriber of this.#subscribers) call(subscriber, this.#rows.map, changes);
    this.push(changes);
  }
  ended(error) {
    super.ended(error);
    this.#settle?.[1](error);
  }
};
var select = (params, { where, params: values, columns, minInterval, conflate }) => {
  if (where !== void 0) params.set("where", where);
  if (values) params.set("params", JSON.stringify(values));
  if (columns) params.set("columns", columns.join(","));
  if (minInterval) params.set("min_interval", `${minInterval}ms`);
  if (conflate === false) params.set("conflate", "0");
};
var JSON_TYPE = "application/json";
var UPDATES_MAX = 10;
export {
  ProblemError,
  RiachoError,
  parser,
  stream,
  table
};
