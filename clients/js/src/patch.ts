// JSON merge patches, RFC 7396. Pure.

type Json = { readonly [member: string]: unknown }

const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)

/** What `patch` makes of `target`; neither is changed. */
export const merge = (target: unknown, patch: unknown): unknown => {
  if (!isObject(patch)) return patch
  const merged = new Map(Object.entries(isObject(target) ? target : {}))
  for (const [member, value] of Object.entries(patch)) {
    if (value === null) merged.delete(member)
    else if (value !== undefined) merged.set(member, merge(merged.get(member), value))
  }
  return Object.fromEntries(merged)
}

/**
 * The patch that makes `after` of `before`, two JSON objects: what is equal is not in it, so it stays as it was written, digit
 * for digit. Undefined where no patch does that: a patch cannot say that a member becomes null.
 */
export const patchOf = (before: Json, after: Json): Json | undefined => {
  const patch: [string, unknown][] = []
  for (const member of Object.keys(before)) if (own(after, member) === undefined) patch.push([member, null])
  for (const [member, value] of Object.entries(after)) {
    const old = own(before, member)
    if (value === undefined || JSON.stringify(old) === JSON.stringify(value)) continue
    const change = isObject(old) && isObject(value) ? patchOf(old, value) : hasNull(value) ? undefined : value
    if (change === undefined) return undefined
    patch.push([member, change])
  }
  return Object.fromEntries(patch)
}

/** Every object has a `__proto__` that is no member. */
const own = (object: Json, member: string): unknown => (Object.hasOwn(object, member) ? object[member] : undefined)

/** Whether there is a null that a patch would take for a member that goes; in arrays nulls are values. */
const hasNull = (value: unknown): boolean => value === null || (isObject(value) && Object.values(value).some(hasNull))
