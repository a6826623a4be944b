/*
 * Pays with the real @paypal/paypal-server-sdk; lines.js says how it is asked,
 * and redirect.js where its one address leads. Methods: pay (an order that is
 * paid when it is made), read.
 */
'use strict';

const {ApiError, Client, CustomError, Environment, OrdersController} = require('@paypal/paypal-server-sdk');
const {serve} = require('./lines.js');

let client; /* one, so that one access token is asked for */

async function run(order) {
    client = client || new Client({
        clientCredentialsAuthCredentials: {oAuthClientId: 'sandbox-id', oAuthClientSecret: 'sandbox-secret'},
        environment: Environment.Sandbox,
        ...order.client,
    });
    const orders = new OrdersController(client);
    const answer = order.method === 'read'
        ? await orders.getOrder({id: order.body.id})
        : await orders.createOrder({body: order.body, paypalRequestId: order.key, prefer: 'return=representation'});
    return {value: answer.result, status: answer.statusCode, headers: answer.headers};
}

function seen(error) {
    return {
        isSdkError: error instanceof ApiError,
        isCustomError: error instanceof CustomError,
        statusCode: error.statusCode,
        result: error.result,
        body: error.body,
        headers: error.headers,
    };
}

serve(run, seen);
