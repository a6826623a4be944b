/*
 * Tells AddressSanitizer which bytes of recycled memory nobody may touch, so
 * that a use after the put is caught although the memory was never freed. In
 * other builds these are nothing.
 */
#ifndef WEIR_BASE_POISON_INTERNAL_H
#define WEIR_BASE_POISON_INTERNAL_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define POISON_ON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISON_ON 1
#endif
#endif

#ifdef POISON_ON
#include <sanitizer/asan_interface.h>
/* Bytes kept untouchable between two neighbours. */
#define POISON_GAP_BYTES 16
#else
#define POISON_GAP_BYTES 0
#endif

static inline void poison(const void *at, size_t bytes)
{
#ifdef POISON_ON
    __asan_poison_memory_region(at, bytes);
#else
    (void)at;
    (void)bytes;
#endif
}

static inline void unpoison(const void *at, size_t bytes)
{
#ifdef POISON_ON
    __asan_unpoison_memory_region(at, bytes);
#else
    (void)at;
    (void)bytes;
#endif
}

#endif
