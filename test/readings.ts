/**
 * What programs might take a message for. Of a key that comes twice some take the first and some the last; some pass over the case of keys, or
 * fold letters beyond ASCII. Here every value counts that any of them could take.
 */
export interface Readings {
  ids: Json[]
  methods: Json[]
  /** Whether anybody could take it for an answer. */
  isAnswer: boolean
  /** Of a member of `params`, or of one in a member of it: all values it could have. */
  params(...path: string[]): Json[]
  result(...path: string[]): Json[]
}

/** `members` holds all of an object in order, those that come twice too. Numbers are kept as text. */
export type Json = { members: [key: string, value: Json][] } | { items: Json[] } | { number: string } | string | boolean | null

/** Undefined for what is no JSON to anybody. @throws SyntaxError */
export function readingsOf(text: string): Readings[] {
  const read = parse(text)
  const messages = typeof read === 'object' && read !== null && 'items' in read ? read.items : [read]
  return messages.map((message) => ({
    ids: follow([message], ['id']),
    methods: follow([message], ['method']),
    isAnswer: follow([message], ['result']).length + follow([message], ['error']).length > 0,
    params: (...path) => follow([message], ['params', ...path]),
    result: (...path) => follow([message], ['result', ...path]),
  }))
}

function follow(values: Json[], path: string[]): Json[] {
  let found = values
  for (const name of path) {
    found = found.flatMap((value) => {
      if (typeof value !== 'object' || value === null) return []
      if ('items' in value) return follow(value.items, [name])
      return 'members' in value ? value.members.filter(([key]) => fold(key) === name).map(([, one]) => one) : []
    })
  }
  return found
}

/** Upper case first, so that letters with two lower-case forms meet their plain one. */
function fold(key: string): string {
  return key.toUpperCase().toLowerCase()
}

const TOKEN =
  /[ \t\r\n]*(?:([{}[\],:])|("(?:[^"\\\u0000-\u001f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?)|(true|false|null))/y

/** JSON of RFC 8259, without recursion: what is read here may be nested as deep as anything. */
function parse(text: string): Json {
  JSON.parse(text)
  const open: ({ members: [string, Json][]; key: string | undefined } | { items: Json[] })[] = []
  let root: Json | undefined
  const put = (value: Json): void => {
    const top = open.at(-1)
    if (!top) root = value
    else if ('items' in top) top.items.push(value)
    else if (top.key === undefined) top.key = String(value)
    else {
      top.members.push([top.key, value])
      top.key = undefined
    }
  }
  TOKEN.lastIndex = 0
  for (let match = TOKEN.exec(text); match; match = TOKEN.exec(text)) {
    const [, mark, string, number, word] = match
    if (mark === '{') open.push({ members: [], key: undefined })
    else if (mark === '[') open.push({ items: [] })
    else if (mark === '}' || mark === ']') {
      const closed = open.pop()
      if (closed) put('items' in closed ? { items: closed.items } : { members: closed.members })
    } else if (string !== undefined) put(String(JSON.parse(string)))
    else if (number !== undefined) put({ number })
    else if (word !== undefined) put(word === 'null' ? null : word === 'true')
  }
  if (root === undefined) throw new SyntaxError('no JSON')
  return root
}
