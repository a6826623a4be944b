/* Pays with the real square SDK; lines.js says how it is asked. Methods: pay, read. */
'use strict';

const {SquareClient, SquareError} = require('square');
const {serve} = require('./lines.js');

function paymentOf(order) {
    const money = order.body.amountMoney;
    return {...order.body, idempotencyKey: order.key, amountMoney: {...money, amount: BigInt(money.amount)}};
}

async function run(order) {
    const square = new SquareClient({token: 'sandbox-token', ...order.client});
    const call = order.method === 'read' ? square.payments.get({paymentId: order.body.id})
                                         : square.payments.create(paymentOf(order));
    const {data, rawResponse} = await call.withRawResponse();
    return {value: data.payment, status: rawResponse.status, headers: Object.fromEntries(rawResponse.headers.entries())};
}

function seen(error) {
    const raw = error.rawResponse;
    return {
        isSdkError: error instanceof SquareError,
        statusCode: error.statusCode,
        errors: error.errors,
        body: error.body,
        headers: raw && raw.headers ? Object.fromEntries(raw.headers.entries()) : undefined,
    };
}

serve(run, seen);
