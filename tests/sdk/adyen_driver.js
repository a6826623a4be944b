/*
 * Pays with the real @adyen/api-library; lines.js says how it is asked, and
 * redirect.js where its one address leads. Method: pay.
 */
'use strict';

const {CheckoutAPI, Client} = require('@adyen/api-library');
const {serve} = require('./lines.js');

async function run(order) {
    const client = new Client({apiKey: 'sandbox-key', environment: 'TEST', ...order.client});
    const options = order.key === undefined ? {} : {idempotencyKey: order.key};
    return {value: await new CheckoutAPI(client).PaymentsApi.payments(order.body, options)};
}

function seen(error) {
    return {
        isSdkError: error.name === 'HttpClientException',
        statusCode: error.statusCode,
        errorCode: error.errorCode,
        apiError: error.apiError,
        headers: error.responseHeaders,
    };
}

serve(run, seen);
