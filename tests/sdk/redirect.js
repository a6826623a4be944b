/*
 * For SDKs that know one address and no other (node -r ./redirect.js): their
 * TLS connections go to 127.0.0.1 instead, as a DNS entry of the merchant's
 * would have it. The name stays in SNI, and is checked against the certificate.
 *
 *   WEIR_PORT   where weir listens
 *   WEIR_NAMES  the names that lead there, with commas between; a connection to
 *               any other name fails, so that no test ever leaves this machine
 */
'use strict';

const net = require('net');
const tls = require('tls');

const port = Number(process.env.WEIR_PORT);
const names = (process.env.WEIR_NAMES || '').split(',');
const connect = tls.connect;

tls.connect = function (options, ...rest) {
    if (options === null || typeof options !== 'object') {
        throw new Error('redirect.js knows tls.connect(options) alone');
    }
    const name = options.servername || options.host;
    if (!names.includes(name)) {
        throw new Error(`${name} is not among the names of this test`);
    }
    const led = {...options, servername: name, host: '127.0.0.1', port};
    delete led.lookup;
    delete led.path;
    return connect.call(tls, led, ...rest);
};

if (!(port > 0) || !net.isIP('127.0.0.1') || names[0] === '') {
    throw new Error('redirect.js wants WEIR_PORT and WEIR_NAMES');
}
