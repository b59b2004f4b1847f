// What an answer means that is no success. Loaded when there is one.

import { ProblemError, RiachoError, type Problem } from './error.js'

/** What an answer says that is no success. */
export const refusal = async (response: Response): Promise<RiachoError> => {
  const { status } = response
  const problem = (await response.json().catch(() => 0)) as Problem
  if (problem.code) return new ProblemError(status, problem)
  // Of a proxy's 4xx those that pass by themselves are tried again.
  if (status === 204) return new RiachoError('stream_closed', false)
  return new RiachoError('http', !/^4(?!08|25|29)/.test(`${status}`), `status ${status}`)
}
