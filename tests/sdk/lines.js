/*
 * What the drivers share: orders come as lines of JSON on stdin, what a
 * merchant's program would see goes out as lines of JSON on stdout.
 *
 *   {"id": 1, "client": {...}, "method": "pay", "body": {...}, "key": "order-1"}
 *   {"id": 1, "ok": true, "value": {...}, "headers": {...}}
 *   {"id": 1, "ok": false, "error": {"name": ..., ...}}
 *
 * `client` goes to the SDK's constructor as it is. Orders run at the same time;
 * stdin's end is the end. Knows no SDK.
 */
'use strict';

const readline = require('readline');

function plain(name, value) {
    return typeof value === 'bigint' ? Number(value) : value;
}

/* run(order) gives {value, headers}; seen(error) what a `catch` can look at. */
function serve(run, seen) {
    async function answer(order) {
        let result;
        try {
            result = {ok: true, ...await run(order)};
        } catch (error) {
            result = {ok: false, error: {name: error.constructor.name, message: error.message, ...seen(error)}};
        }
        process.stdout.write(JSON.stringify({id: order.id, ...result}, plain) + '\n');
    }
    readline.createInterface({input: process.stdin})
        .on('line', (line) => answer(JSON.parse(line)))
        .on('close', () => process.exit(0));
}

module.exports = {serve};
