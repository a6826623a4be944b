/*
 * Pays with the real stripe SDK on orders that come as lines of JSON on stdin,
 * and tells as lines of JSON on stdout what a merchant's program would see: the
 * promise resolved, or it rejected with this error. Knows nothing of weir.
 *
 *   {"id": 1, "client": {"host":, "port":, ...}, "agent": {...}, "method": "create", "arguments": [...]}
 *   {"id": 1, "ok": false, "error": {...}, "attempts": 2}
 *
 * `client` goes to the SDK's constructor as it is. `agent`, where there is one,
 * makes an https.Agent of its own; its `address` is where every name leads, as
 * a DNS entry would say. `method` is create, retrieve or rawRequest. Orders run
 * at the same time; stdin's end is the end.
 */
'use strict';

const https = require('https');
const readline = require('readline');
const Stripe = require('stripe');

function agentOf({address, ...options}) {
    if (address !== undefined) {
        options.lookup = (name, how, done) =>
            how.all ? done(null, [{address, family: 4}]) : done(null, address, 4);
    }
    return new https.Agent(options);
}

function clientOf(order) {
    const options = {telemetry: false, ...order.client};
    if (order.agent) {
        options.httpAgent = agentOf(order.agent);
    }
    return new Stripe('sk_live_sdk', options);
}

function callOf(stripe, order) {
    if (order.method === 'rawRequest') {
        return stripe.rawRequest(...order.arguments);
    }
    return stripe.paymentIntents[order.method](...order.arguments);
}

function errorSeen(error) {
    return {
        name: error.constructor.name,
        isStripeError: error instanceof Stripe.errors.StripeError,
        type: error.type,
        rawType: error.rawType,
        code: error.code,
        statusCode: error.statusCode,
        requestId: error.requestId,
        message: error.message,
        headers: error.headers,
        cause: error.detail && {code: error.detail.code, message: error.detail.message},
    };
}

async function answer(order) {
    const seen = {id: order.id, attempts: 0};
    try {
        const stripe = clientOf(order);
        stripe.on('request', () => { seen.attempts++; });
        const value = await callOf(stripe, order);
        Object.assign(seen, {ok: true, value, headers: value.lastResponse.headers});
    } catch (error) {
        Object.assign(seen, {ok: false, error: errorSeen(error)});
    }
    process.stdout.write(JSON.stringify(seen) + '\n');
}

readline.createInterface({input: process.stdin})
    .on('line', (line) => answer(JSON.parse(line)))
    .on('close', () => process.exit(0));
