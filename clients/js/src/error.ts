// Every error that the client gives away. Where the server named it, `code` is the wire's (spec/protocol.md, "Errors").

/** The one class of errors. Decide by `code`; `message` is for people. */
export class RiachoError extends Error {
  /**
   * The server's code (`from_invalid`, `row_exists`, …), or one of the client's own: `network`, `silent` (nothing came in
   * time), `drain` (the server restarts), `http` (an answer that is not the server's, such as a proxy's 502), `protocol`
   * (a body that makes no sense), `unfit` (a transport that does not work here), `key_invalid`; and where it ended: `closed`
   * (`close()`), `aborted` (`signal`), `stream_closed`.
   */
  readonly code: string
  /** Whether trying again can help. */
  readonly retry: boolean

  constructor(code: string, retry = true, cause?: unknown) {
    super(`${cause ?? code}`, { cause })
    this.name = 'RiachoError'
    this.code = code
    this.retry = retry
  }
}

/** The server's answer was an error: RFC 9457 problem details. */
export class ProblemError extends RiachoError {
  readonly status: number
  /** All members of the answer. */
  readonly problem: Problem

  constructor(status: number, problem: Problem) {
    super(problem.code, problem.retry, problem.detail || problem.code)
    this.status = status
    this.problem = problem
  }
}

/** The body of an error. New members may be added. */
export interface Problem {
  readonly code: string
  readonly title: string
  readonly detail: string
  readonly retry: boolean
  /** Which change of a batch it is about, from 0. */
  readonly index?: number
}
