/* Pays with the real checkout-sdk-node; lines.js says how it is asked. Methods: pay, read. */
'use strict';

const {serve} = require('./lines.js');

/* The SDK is a module of the newer kind, which require does not take. */
const sdk = import('checkout-sdk-node');

async function run(order) {
    const {Checkout} = await sdk;
    const checkout = new Checkout('sk_sbox_m73dzbpy7cf3gfd46xr4yj5xo4e', {pk: 'pk_sbox_pkh', ...order.client});
    const value = order.method === 'read' ? await checkout.payments.get(order.body.id)
                                          : await checkout.payments.request(order.body, order.key);
    return {value};
}

function seen(error) {
    return {isSdkError: error.http_code !== undefined, kind: error.name, statusCode: error.http_code, body: error.body};
}

serve(run, seen);
