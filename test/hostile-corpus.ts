/**
 * What hostile clients and servers write, as data. `NAME` stands for the name of the tool that may be called, `FORBIDDEN` for one that may not.
 */

export interface HostileRequest {
  what: string
  body: string | Buffer
}

const call = (params: string, id = '1') => `{"jsonrpc":"2.0","id":${id},"method":"tools/call","params":${params}}`
const withArguments = (text: string) => call(`{"name":"NAME","arguments":${text}}`)
const bytes = (before: string, odd: readonly number[], after: string): Buffer =>
  Buffer.concat([Buffer.from(before), Buffer.from(odd), Buffer.from(after)])
const inText = (...odd: number[]): Buffer =>
  bytes('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"NAME","arguments":{"a":"', odd, '"}}}')

/** No server may get these, and their client is told so. */
export const REFUSED: readonly HostileRequest[] = [
  ...(
    [
      ['a key twice, deep in the arguments', withArguments('{"a":[{"b":1,"b":2}]}')],
      ['a key twice, once escaped', withArguments('{"ab":1,"\\u0061b":2}')],
      ['arguments twice', call('{"name":"NAME","arguments":{"x":1},"arguments":{"x":2}}')],
      ['Arguments', call('{"name":"NAME","Arguments":{}}')],
      ['PARAMS', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"NAME"},"PARAMS":{"name":"FORBIDDEN"}}'],
      ['an escaped METHOD', '{"jsonrpc":"2.0","id":1,"method":"tools/call","\\u004dethod":"ping","params":{"name":"NAME"}}'],
      ['a key of one control character', withArguments('{"\\n":1}')],
      ['lists nested 100 000 deep', withArguments('['.repeat(100_000) + ']'.repeat(100_000))],
      ['objects nested 100 000 deep', withArguments('{"a":'.repeat(100_000) + '1' + '}'.repeat(100_000))],
      ['20 000 keys', withArguments(`{${Array.from({ length: 20_000 }, (_, i) => `"k${i}":0`).join()}}`)],
      ['a number with a leading zero', withArguments('{"a":01}')],
      ['a number with a plus', withArguments('{"a":+1}')],
      ['NaN', withArguments('{"a":NaN}')],
      ['Infinity', withArguments('{"a":-Infinity}')],
      ['single quotes', withArguments("{'a':1}")],
      ['a comment', withArguments('{/*a*/}')],
      ['a comma at the end', withArguments('{"a":1,}')],
      ['a raw line end in a text', withArguments('{"a":"b\nc"}')],
      ['text after the message', `${withArguments('{}')} x`],
      ['an id of null', call('{"name":"NAME"}', 'null')],
      ['an id of true', call('{"name":"NAME"}', 'true')],
      ['an id that is an object', call('{"name":"NAME"}', '{}')],
      ['an id that is a list', call('{"name":"NAME"}', '[1]')],
      ['an id twice', call('{"name":"NAME"}', '1,"id":2')],
      ['another version of JSON-RPC', withArguments('{}').replace('"2.0"', '"1.0"')],
      ['a version that is a number', withArguments('{}').replace('"2.0"', '2.0')],
      ['params that are null', call('null')],
      ['params that are a text', call('"NAME"')],
      ['a method and a result', '{"jsonrpc":"2.0","id":1,"method":"tools/call","result":{},"params":{"name":"NAME"}}'],
      ['an answer that nobody waits for', '{"jsonrpc":"2.0","id":99,"result":{}}'],
      ['white space alone', ' \n'],
    ] as const
  ).map(([what, body]) => ({ what, body })),
  { what: 'a truncated character', body: inText(0xe2, 0x82) },
  { what: 'an overlong NUL', body: inText(0xc0, 0x80) },
  { what: 'an overlong quote', body: inText(0xc0, 0xa2) },
  { what: 'a surrogate as bytes', body: inText(0xed, 0xa0, 0x80) },
  { what: 'a character beyond Unicode', body: inText(0xf5, 0x80, 0x80, 0x80) },
  { what: 'a NUL byte in a text', body: inText(0x00) },
  { what: 'a NUL byte between two keys', body: bytes('{"jsonrpc":"2.0",', [0], call('{"name":"NAME"}').slice('{"jsonrpc":"2.0",'.length)) },
  { what: 'a byte order mark', body: bytes('', [0xef, 0xbb, 0xbf], withArguments('{}')) },
  { what: 'UTF-16', body: Buffer.from(withArguments('{}'), 'utf16le') },
]

/** Arguments that are odd and yet JSON: the server gets them to the letter. */
export const ODD_ARGUMENTS: readonly string[] = [
  '{"a":1e400,"b":-1e400,"c":1e-400}',
  '{"a":9007199254740993,"b":-0,"c":1.0,"d":1E+2,"e":123456789012345678901234567890}',
  '{"a":"\\ud800","b":"\\udc00\\ud800","x\\udfff":1}',
  '{"a":"\\u0000","b\\u0000":1}',
  '{"\\u0061":1,"\\u00e9":2,"\\u4e2d" :3,"\\/":4}',
  '{"__proto__":{"isAdmin":true},"constructor":{"prototype":{}},"toString":1,"hasOwnProperty":2}',
  '{"":1," ":2,"A":3,"a":4}',
  '{"\u0130":1,"i\u0307":2,"\u00e9":3,"e\u0301":4}',
  '{"a":"\\/\\b\\f\\n\\r\\t\\"\\\\"}',
  '{ "a" :\t[ 1 ,\r\n2 ] }',
  '{"name":"FORBIDDEN","method":"ping","id":2,"params":{"name":"FORBIDDEN"}}',
  `{"a":${'['.repeat(50)}${']'.repeat(50)}}`,
]

/** Ids, as JSON text, that come back as they were. */
export const ODD_IDS: readonly string[] = [
  '0',
  '-0',
  '-7',
  '1.5',
  '1e400',
  '9007199254740993',
  '123456789012345678901234567890',
  '""',
  '"\\u0000"',
  '"a\\nb"',
  '"\\ud800"',
  '"\\u0031"',
  '"__proto__"',
  `"${'x'.repeat(1000)}"`,
]

/** Answers to the request with id 1 that are none: of two readers one could take them for something else. `LONG` is made long. */
export const UNCLEAR_ANSWERS: readonly [what: string, text: string][] = [
  ['another id', '{"jsonrpc":"2.0","id":2,"result":{"x":"LONG"}}'],
  ['another id, too large for a number, with an error', '{"jsonrpc":"2.0","id":1e400,"error":{"code":-32603,"message":"LONG"}}'],
  ['another type of id', '{"jsonrpc":"2.0","id":"1","result":{"x":"LONG"}}'],
  ['an id of null', '{"jsonrpc":"2.0","id":null,"result":{"x":"LONG"}}'],
  ['an id twice', '{"jsonrpc":"2.0","id":2,"result":{"x":"LONG"},"id":1}'],
  ['an ID', '{"jsonrpc":"2.0","id":1,"ID":2,"result":{"x":"LONG"}}'],
  ['an escaped id', '{"jsonrpc":"2.0","\\u0069d":2,"id":1,"result":{"x":"LONG"}}'],
  ['a result and an error', '{"jsonrpc":"2.0","id":1,"result":{"x":"LONG"},"error":{"code":1,"message":""}}'],
  ['a result and an ERROR', '{"jsonrpc":"2.0","id":1,"result":{"x":"LONG"},"ERROR":{"code":1,"message":""}}'],
  ['a method', '{"jsonrpc":"2.0","id":1,"result":{"x":"LONG"},"method":"roots/list"}'],
  ['neither result nor error', '{"jsonrpc":"2.0","id":1,"x":"LONG"}'],
  ['a list around it', '[{"jsonrpc":"2.0","id":1,"result":{"x":"LONG"}}]'],
  ['more than one', '{"jsonrpc":"2.0","id":1,"result":{"x":"LONG"}}{"jsonrpc":"2.0","id":1,"result":{}}'],
  ['no JSON', 'LONG'],
]

/** Results, as JSON text, that pass to the letter. */
export const ODD_RESULTS: readonly string[] = [
  ...ODD_ARGUMENTS,
  '{"content":[{"type":"nobody knows","\\u0000":1e400}],"isError":"perhaps"}',
  `{"a":${'['.repeat(300)}${']'.repeat(300)}}`,
  'null',
  '[]',
  '"text"',
]
