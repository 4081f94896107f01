/*
 * Makes the throw-away TLS keys of monero-wallet-rpc smaller: 2048 bits instead of 4096.
 *
 * Each open_wallet makes an RSA key of 4096 bits for a TLS client that says who it is to nobody: the one of the
 * multisig messaging system, which wallet-rpc has no command for, and which no option turns off. It takes 1.4 s of CPU
 * in the mean where one of 2048 bits takes 0.18 s, and the rest of an open_wallet 0.3 s. With TLS to monerod and no
 * client certificate there is a second one, and monerod does not look at it.
 *
 * No wallet, no password and no payment depends on these keys; nothing is encrypted with them either, since TLS agrees
 * on its keys by Diffie-Hellman. 2048 bits are what public certificate authorities ask for.
 *
 * The library is preloaded (ENV LD_PRELOAD in the Dockerfile), stands in for one function of OpenSSL 3, and changes one
 * argument of it. Build with --build-arg RSA_BITS=4096 for what Monero does by itself.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <openssl/rsa.h>

#ifndef RSA_BITS
#error "RSA_BITS: the most bits of a key"
#endif

typedef int generate(RSA *, int, BIGNUM *, BN_GENCB *);

int RSA_generate_key_ex(RSA *rsa, int bits, BIGNUM *e, BN_GENCB *callback) {
    generate *original = (generate *)dlsym(RTLD_NEXT, "RSA_generate_key_ex");

    /* 0 is a failure of OpenSSL's: the caller knows what to do. */
    return original == NULL ? 0 : original(rsa, bits < RSA_BITS ? bits : RSA_BITS, e, callback);
}
