/* Preloaded into a process, this puts its wall clock, and its monotonic one, ahead by what the file named in
   KITAE_TEST_SKEW says: two whole numbers of seconds. The file may change while the process runs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static void skew(long *wall, long *monotonic) {
    const char *path = getenv("KITAE_TEST_SKEW");
    FILE *file = path ? fopen(path, "r") : NULL;
    *wall = *monotonic = 0;
    if (file) {
        if (fscanf(file, "%ld %ld", wall, monotonic) != 2) *wall = *monotonic = 0;
        fclose(file);
    }
}

int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    long wall, monotonic;
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(which, now);
    if (result != 0 || (which != CLOCK_REALTIME && which != CLOCK_MONOTONIC)) return result;
    skew(&wall, &monotonic);
    now->tv_sec += which == CLOCK_REALTIME ? wall : monotonic;
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    (void)zone;
    int result = clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return result;
}

time_t time(time_t *out) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (out) *out = exact.tv_sec;
    return exact.tv_sec;
}
